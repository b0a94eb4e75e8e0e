"""The video of an explanation: the frame with its boxes on the left, where its box was seen on the right."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from seqdet.model.explain_boxes import PictureMaps, Why
from seqdet.results.draw import Annotator
from seqdet.results.explain_pictures import on_source, overlay, scaled_to_one, with_box
from seqdet.runs.explain_box import ask, explain_picture
from seqdet.runs.explain_stream import Moment
from seqdet.runs.explain_survey import Found
from seqdet.runs.stream import Model
from seqdet.video.writer import VideoWriter, fitted


class HeatVideo:
    """Writes one video, frame by frame; a context manager."""

    def __init__(self, path: Path, model: Model, why: Why) -> None:
        self._path, self._model, self._why = path, model, why
        self._annotator = Annotator(model.classes)
        self._writer: VideoWriter | None = None
        self._origin_s = 0.0

    def __enter__(self) -> HeatVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def write(self, moment: Moment, found: Found | None) -> None:
        """One frame; ``found`` is the detection whose heat is shown, None for a grey frame."""
        left = self._annotator.draw(moment.result)
        heat = np.zeros(left.shape[:2], np.float32)
        if found is not None:
            question = ask(moment, found, self._why)
            maps = explain_picture(self._model, moment, question)
            heat = combined(maps, moment)
        right = overlay(moment.frame.rgb, heat)
        if found is not None:
            right = with_box(right, found.box_xyxy_px)
        both = np.concatenate([left, right], axis=1)
        if self._writer is None:
            self._origin_s = moment.frame.time_s
            self._writer = VideoWriter(self._path, size_wh=(both.shape[1], both.shape[0]))
            self._writer.__enter__()
        self._writer.write(fitted(both, self._writer.size_wh), moment.frame.time_s - self._origin_s)


def combined(maps: PictureMaps, moment: Moment) -> np.ndarray:
    """(H, W) in 0..1: the local maps of all levels, each with its greatest value as 1, averaged."""
    levels = [on_source(scaled_to_one(one.numpy()), moment.geometry) for one in maps.local]
    return scaled_to_one(np.mean(levels, axis=0))
