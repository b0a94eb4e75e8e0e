"""The second look as an OpenVINO graph beside that of the step: a third of PyTorch's time for one small crop.

Legend: M crops, S their side in pixels, K classes.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from seqdet.model.detector import Detector
from seqdet.model.glimpse import Glimpse
from seqdet.runs.step_graph import MAX_BATCH, module
from seqdet.runs.step_network import OpenVinoStep

GLIMPSE = "glimpse.xml"
_CROPS, _LOGITS = "crops", "logits"


class GraphGlimpse(nn.Module):
    """In the place of a ``Glimpse``, computed by OpenVINO in float32."""

    pixel_mean: Tensor

    def __init__(self, glimpse: Glimpse, path: Path) -> None:
        super().__init__()
        self.crop_px, self.context = glimpse.crop_px, glimpse.context
        self.register_buffer("pixel_mean", glimpse.pixel_mean, persistent=False)
        self._run = OpenVinoStep(module("openvino").Core().read_model(str(path)), "f32")

    def forward(self, crops: Tensor) -> Tensor:
        """(M, 3, S, S) uint8 RGB -> logits (M, K + 1)."""
        pictures = crops.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(self._run({_CROPS: pictures})[_LOGITS])


class _ChannelsLast(nn.Module):
    def __init__(self, glimpse: Glimpse) -> None:
        super().__init__()
        self.glimpse = glimpse

    def forward(self, crops: Tensor) -> Tensor:
        return self.glimpse(crops.permute(0, 3, 1, 2))


def write_glimpse(detector: Detector, folder: Path) -> None:
    """Write the graph of a detector's second look into a folder; nothing where it has none."""
    glimpse = detector.glimpse
    if glimpse is None:
        return
    openvino = module("openvino")
    example = torch.zeros(2, glimpse.crop_px, glimpse.crop_px, 3, dtype=torch.uint8)
    shapes = {"crops": {0: Dim("crops", min=1, max=MAX_BATCH)}}
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _ChannelsLast(glimpse).eval(), (example,), dynamic_shapes=shapes, strict=False
        )
        graph = openvino.convert_model(program)
    graph.input(0).get_tensor().set_names({_CROPS})
    graph.output(0).get_tensor().set_names({_LOGITS})
    graph.reshape(openvino.PartialShape([-1, *example.shape[1:]]))
    openvino.save_model(graph, str(folder / GLIMPSE), compress_to_fp16=False)


def use_glimpse_graph(detector: Detector, folder: Path) -> None:
    """Let a folder's graph compute the second look of a detector from now on, where there is one."""
    path = folder / GLIMPSE
    if isinstance(detector.glimpse, Glimpse) and path.is_file():
        detector.glimpse = cast(Glimpse, GraphGlimpse(detector.glimpse, path))  # does all that it does
