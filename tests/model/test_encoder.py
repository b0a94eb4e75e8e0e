"""Every encoder that a configuration may name, its strides, and the files that weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import load_file, save_file

from seqdet.config import EncoderName
from seqdet.errors import InputError, UsageError
from seqdet.model.encoder import STRIDES, Neck, build_encoder

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"


@pytest.mark.parametrize("name", get_args(EncoderName))
def test_every_encoder_gives_maps_at_its_strides(name: str):
    encoder = build_encoder(name)
    maps = encoder(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, STRIDES, strict=True)
    ]
    maps[-1].sum().backward()
    unused = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    assert not unused, "weights that no map depends on"


@pytest.mark.parametrize("name", get_args(EncoderName))
def test_more_input_channels_begin_without_influence(name: str):
    torch.manual_seed(0)
    plain = build_encoder(name).eval()
    torch.manual_seed(0)
    wide = build_encoder(name, extra_inputs=2).eval()
    picture = torch.rand(1, 3, 64, 64)
    noisy = torch.cat([picture, torch.randn(1, 2, 64, 64)], dim=1)
    for expected, got in zip(plain(picture), wide(noisy), strict=True):
        torch.testing.assert_close(got, expected)
    wide(noisy)[0].sum().backward()
    first = next(parameter for parameter in wide.parameters() if parameter.ndim == 4)
    assert first.grad is not None
    assert first.grad[:, 3:].abs().sum() > 0, "but they can gain it"


@pytest.mark.parametrize("levels", [(4, 8, 16), (8,), (4, 16), (8, 32)])
def test_the_neck_mixes_all_scales_into_every_level(levels):
    channels = [8, 12, 16, 24]
    neck = Neck(channels, levels, 8).eval()
    maps = [torch.rand(1, c, 64 // s, 64 // s) for c, s in zip(channels, STRIDES, strict=True)]
    pyramid = neck(maps)
    assert [tuple(m.shape) for m in pyramid] == [(1, 8, 64 // s, 64 // s) for s in levels]
    maps[-1] = torch.rand_like(maps[-1])
    assert all((a != b).any() for a, b in zip(pyramid, neck(maps), strict=True)), "coarse reaches fine"


def test_imagenet_weights_are_loaded_from_a_file():
    path = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
    if not path.is_file():
        pytest.skip("needs ../shared/weights/mobilenet_v2_imagenet.safetensors")
    encoder, tensors = build_encoder("mobilenet_v2", str(path)), load_file(path)
    torch.testing.assert_close(encoder.blocks[0][0].weight.data, tensors["features.0.0.weight"].float())
    torch.testing.assert_close(
        encoder.blocks[17].conv[1][1].running_var, tensors["features.17.conv.1.1.running_var"].float()
    )


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    weights = {key: value.contiguous() for key, value in tv.shufflenet_v2_x1_0().state_dict().items()}
    save_file(weights, folder / "other.safetensors")
    text = folder / "text.safetensors"
    text.write_text("weights, honestly", encoding="utf-8")
    cut = folder / "cut.safetensors"
    cut.write_bytes((folder / "other.safetensors").read_bytes()[:5000])
    shaped = {key: value.contiguous() for key, value in tv.resnet.ResNet(
        tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7
    ).state_dict().items()}  # fmt: skip
    shaped["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    save_file(shaped, folder / "shape.safetensors")
    return {path.stem: path for path in folder.iterdir()} | {"none": folder / "none", "folder": folder}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none", "no readable"),
        ("folder", "no readable"),
        ("text", "no readable"),
        ("cut", "no readable"),
        ("other", "not torchvision's weights of resnet10"),
        ("shape", r"another shape for conv1\.weight"),
    ],
)
def test_a_wrong_weights_file_is_refused_in_one_line(wrong_files, file: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        build_encoder("resnet10", str(wrong_files[file]))
    assert str(wrong_files[file]) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_there_are_no_imagenet_weights_for_our_own_shape():
    with pytest.raises(UsageError, match="mobilenet_v2"):
        build_encoder("regnet_plain", "imagenet")
