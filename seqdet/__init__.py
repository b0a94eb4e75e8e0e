"""seqdet: object detection in video by a detector that remembers.

import seqdet
model = seqdet.load("airspace")
for result in model.detect("sky.mp4"):
    result.time_s, result.boxes_xyxy_px, result.track_ids, result.labels
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqdet.runs.stream import Model

__version__ = "0.1.0"
__all__ = ["load"]


def load(model: str | Path = "airspace", device: str = "auto", runtime: str = "auto") -> Model:
    """Load a trained model.

    Args:
        model: name of a shipped model ("airspace"), a run folder of ``seqdet train``, a .safetensors file, or
            a folder of ``seqdet export``.
        device: "auto" (a GPU when there is one), "cpu" or "cuda".
        runtime: what computes frames: "torch", "openvino" or "onnx" (prepared once, which takes some ten
            seconds), or "auto": OpenVINO on a CPU where that was done before, PyTorch otherwise.

    Returns:
        The model: ``detect(source)`` yields one result a frame; ``step(frame_rgb, state)`` streams with the
        state in your hands.

    Raises:
        seqdet.errors.UsageError: no model of that name, or no such device.
        seqdet.errors.MissingDependencyError: the runtime is not installed.
        seqdet.errors.InputError: the file is missing, cut, a pickle, or of another version.
    """
    from seqdet.runs.stream import load as load_model  # torch is heavy: imported when it is needed

    return load_model(model, device, runtime)
