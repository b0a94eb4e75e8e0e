"""The second look by OpenVINO says what PyTorch says, for any number of crops; only where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from seqdet.config import GlimpseConfig, ModelConfig
from seqdet.model.detector import build_detector
from seqdet.model.fold import fold_batchnorm
from seqdet.runs import step_graph
from seqdet.runs.glimpse_graph import GLIMPSE, GraphGlimpse, use_glimpse_graph, write_glimpse

needs_openvino = pytest.mark.skipif(
    not step_graph.installed("openvino") and not os.environ.get("CI"),
    reason="not installed: pip install 'seqdet[openvino]'",
)
SHAPE = {
    "encoder": "resnet10",
    "levels": (16,),
    "channels": 8,
    "clip_width": 8,
    "track_width": 8,
    "input_size_wh": (64, 64),
}


@needs_openvino
def test_the_graph_agrees_with_the_module(tmp_path: Path) -> None:
    glimpse = GlimpseConfig(encoder="resnet10", stride=16, crop_px=32)
    detector = build_detector(ModelConfig(**SHAPE, glimpse=glimpse), 2).eval()
    fold_batchnorm(detector)
    module = detector.glimpse
    write_glimpse(detector, tmp_path)
    use_glimpse_graph(detector, tmp_path)
    assert isinstance(detector.glimpse, GraphGlimpse)
    assert (detector.glimpse.crop_px, detector.glimpse.context) == (32, glimpse.context)
    for count in (1, 3):
        crops = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        with torch.inference_mode():
            torch.testing.assert_close(detector.glimpse(crops), module(crops), atol=1e-4, rtol=1e-4)


def test_without_a_second_look_nothing_is_written(tmp_path: Path) -> None:
    detector = build_detector(ModelConfig(**SHAPE), 2).eval()
    write_glimpse(detector, tmp_path)
    use_glimpse_graph(detector, tmp_path)
    assert detector.glimpse is None
    assert not (tmp_path / GLIMPSE).exists()
