"""A picture without colour is one channel, to the bit what OpenCV shows in three."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from seqdet.video import spans as room
from seqdet.video.levels import one_channel
from seqdet.video.reader import open_video
from seqdet.video.spans import SpanReader, find_spans


@pytest.mark.parametrize("size_wh", [(64, 48), (98, 34), (350, 18)])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("coloured", [False, True])
def test_as_opencv_shows_it(tmp_path: Path, monkeypatch, size_wh: tuple[int, int], form: str, coloured: bool):
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    width, height = size_wh
    rng = np.random.default_rng(1)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, form
        stream.options = {"qp": "0", "g": "2", "preset": "ultrafast"}
        for _ in range(6):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[: height * 3 // 2 if coloured else height] = rng.integers(0, 256, width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format=form)))
        container.mux(stream.encode(None))
    with open_video(path) as reader:
        frames = list(reader)
    spans = find_spans(path, 6)
    assert len(spans.starts) > 1
    for number in range(len(spans.starts)):
        for picture in SpanReader().read(spans, number):
            assert picture.pixels.ndim == (3 if coloured else 2)
            np.testing.assert_array_equal(picture.rgb, frames[picture.index].rgb)


def test_one_other_pixel_is_colour():
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 50, 1), np.uint8), 3, axis=2)
    assert one_channel(grey).shape == (40, 50)
    np.testing.assert_array_equal(one_channel(grey), grey[:, :, 0])
    grey[7, 9, 2] ^= 1
    assert one_channel(grey) is grey
