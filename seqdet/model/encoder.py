"""The encoder: a torchvision CNN cut into its strides, and the neck that makes it a pyramid.

Legend: N pictures (B*T), C channels, H W input pixels, L pyramid levels.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.models as tv
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.resnet import ResNet
from torchvision.ops import Conv2dNormActivation

from seqdet.errors import InputError, UsageError
from seqdet.model.drop_path import DroppableBlock

STRIDES = (4, 8, 16, 32)
# torchvision's mean and standard deviation of ImageNet, on pixels in 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class Encoder(nn.Module):
    """Feature maps of a picture at strides 4, 8, 16 and 32.

    Input (N, 3, H, W) float, H and W multiples of 32 (more channels where asked for); output four maps
    (N, C_i, H / stride_i, W / stride_i), ``channels`` holds the C_i.
    """

    def __init__(self, blocks: list[nn.Module], inputs: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.taps, self.channels = _last_block_of_each_stride(blocks, inputs)
        del self.blocks[self.taps[-1] + 1 :]

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3 or more, H, W) -> four maps, finest first."""
        maps = []
        for number, block in enumerate(self.blocks):
            pictures = block(pictures)
            if number in self.taps:
                maps.append(pictures)
        return maps


def _last_block_of_each_stride(blocks: list[nn.Module], inputs: int) -> tuple[list[int], list[int]]:
    """Index and channels of the last block that works at each of STRIDES, found by a picture of 64 x 64."""
    taps: dict[int, tuple[int, int]] = {}
    picture = torch.zeros(1, inputs, 64, 64)
    with torch.no_grad():
        for number, block in enumerate(blocks):
            training = block.training
            picture = block.eval()(picture)
            block.train(training)
            taps[64 // picture.shape[-1]] = (number, picture.shape[1])
    return [taps[stride][0] for stride in STRIDES], [taps[stride][1] for stride in STRIDES]


class Neck(nn.Module):
    """A light path-aggregation network (Liu et al., CVPR 2018): coarse to fine, then fine to coarse.

    Input the encoder's four maps; output one map of ``channels`` for each stride in ``levels``.
    """

    def __init__(self, encoder_channels: list[int], levels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.levels = levels
        self.strides = [stride for stride in STRIDES if stride >= levels[0]]
        self.laterals = nn.ModuleList(
            Conv2dNormActivation(
                encoder_channels[STRIDES.index(stride)], channels, 1, activation_layer=nn.Hardswish
            )
            for stride in self.strides
        )
        self.smooth = nn.ModuleList(_separable(channels, 1) for _ in levels)
        self.down = nn.ModuleList(_separable(channels, 2) for _ in levels[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Four encoder maps -> L pyramid maps, finest first."""
        maps = maps[len(maps) - len(self.strides) :]
        fine = [lateral(feature) for lateral, feature in zip(self.laterals, maps, strict=True)]
        for index in range(len(fine) - 2, -1, -1):
            fine[index] = fine[index] + nn.functional.interpolate(
                fine[index + 1], scale_factor=2.0, mode="nearest"
            )
        pyramid = [
            smooth(fine[self.strides.index(level)])
            for smooth, level in zip(self.smooth, self.levels, strict=True)
        ]
        for index, down in enumerate(self.down):
            finer = pyramid[index]
            for _ in range((self.levels[index + 1] // self.levels[index]).bit_length() - 2):
                finer = nn.functional.max_pool2d(finer, 2)
            pyramid[index + 1] = pyramid[index + 1] + down(finer)
        return pyramid


def _separable(channels: int, stride: int) -> nn.Sequential:
    """3x3 depthwise then 1x1 convolution, each with BatchNorm."""
    return nn.Sequential(
        Conv2dNormActivation(channels, channels, 3, stride, groups=channels, activation_layer=None),
        Conv2dNormActivation(channels, channels, 1, activation_layer=nn.Hardswish),
    )


def _regnet_plain() -> nn.Module:
    # RegNetX's block (Radosavovic et al., CVPR 2020) with one group: plain 3x3 convolutions, which a CPU runs
    # three to six times faster for a multiply-add than grouped or depthwise ones.
    widths = [32, 64, 128, 192]
    return RegNet(
        BlockParams(
            depths=[1, 2, 2, 2],
            widths=widths,
            group_widths=widths,
            bottleneck_multipliers=[1.0] * 4,
            strides=[2] * 4,
        ),
        stem_width=24,
    )


_NETWORKS = {
    "regnet_plain": _regnet_plain,
    "resnet10": lambda: ResNet(DroppableBlock, [1, 1, 1, 1]),
    "mobilenet_v2": tv.mobilenet_v2,
    "mobilenet_v3_small": tv.mobilenet_v3_small,
    "mobilenet_v3_large": tv.mobilenet_v3_large,
    "shufflenet_v2": tv.shufflenet_v2_x1_0,
}
_IMAGENET = {
    "mobilenet_v2": tv.MobileNet_V2_Weights.IMAGENET1K_V2,
    "mobilenet_v3_small": tv.MobileNet_V3_Small_Weights.IMAGENET1K_V1,
    "mobilenet_v3_large": tv.MobileNet_V3_Large_Weights.IMAGENET1K_V2,
    "shufflenet_v2": tv.ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1,
}


def build_encoder(name: str, weights: str | None = None, extra_inputs: int = 0) -> Encoder:
    """Build an encoder by name.

    Args:
        name: a key of the table above.
        weights: "imagenet" (torchvision downloads them), a path to a .safetensors file with torchvision's
            parameter names, or None for random weights.
        extra_inputs: input channels beside red, green and blue. They begin without influence.

    Raises:
        UsageError: torchvision has no weights for this network.
        InputError: the file is missing or does not hold this network.
    """
    network = _NETWORKS[name]()
    if weights == "imagenet":
        if name not in _IMAGENET:
            raise UsageError(
                f"torchvision has no ImageNet weights for {name}; it has them for {', '.join(_IMAGENET)}"
            )
        network.load_state_dict(_IMAGENET[name].get_state_dict(progress=False, check_hash=True))
    elif weights is not None:
        _load_file_into(network, name, Path(weights))
    if extra_inputs:
        _widen(network, extra_inputs)
    return Encoder(_blocks(network), 3 + extra_inputs)


def torchvision_weights(name: str, encoder: Encoder) -> dict[str, Tensor]:
    """The weights of an encoder under torchvision's names, as ``build_encoder`` reads them from a file.

    Input channels beside red, green and blue are left out.

    Args:
        name: of the network that the encoder was built from.
        encoder: trained or not.
    """
    network = _NETWORKS[name]()
    bare = Encoder(_blocks(network))
    wanted = bare.state_dict()
    bare.load_state_dict(
        {
            key: value[:, : wanted[key].shape[1]] if value.ndim == 4 else value
            for key, value in encoder.state_dict().items()
        }
    )
    return {key: value.contiguous() for key, value in network.state_dict().items()}


def _widen(network: nn.Module, extra: int) -> None:
    """Give the first convolution ``extra`` more input channels, with weights of zero."""
    name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    weight = torch.cat(
        [first.weight, first.weight.new_zeros(len(first.weight), extra, *first.kernel_size)], 1
    )
    wide = nn.Conv2d(
        first.in_channels + extra,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    wide.load_state_dict(first.state_dict() | {"weight": weight.detach()})
    network.set_submodule(name, wide)


def _load_file_into(network: nn.Module, name: str, path: Path) -> None:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: no readable .safetensors file with encoder weights ({error})") from error
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    missing = [
        key for key in network.state_dict() if key not in tensors and not key.endswith("num_batches_tracked")
    ]
    missing = [key for key in missing if not key.startswith(("classifier.", "fc."))]
    wrong = [k for k, v in network.state_dict().items() if k in tensors and tensors[k].shape != v.shape]
    if missing or wrong:
        what = f"misses {missing[0]}" if missing else f"has another shape for {wrong[0]}"
        raise InputError(f"{path}: these are not torchvision's weights of {name}: the file {what}")
    network.load_state_dict(tensors, strict=False)


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The network as a chain of modules that ends before its pooling."""
    if isinstance(network, RegNet):
        return [network.stem, *network.trunk_output]
    if isinstance(network, ResNet):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        return [stem, network.layer1, network.layer2, network.layer3, network.layer4]
    if isinstance(network, tv.ShuffleNetV2):
        return [network.conv1, network.maxpool, network.stage2, network.stage3, network.stage4]
    return list(network.features)  # type: ignore[arg-type]
