"""Tiny media files, written by PyAV, with known pixels and times."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

VECTORS = Path(__file__).resolve().parents[2] / ".." / "shared" / "vectors"

SOUND_HZ = 48000


@pytest.fixture(scope="session")
def vectors() -> Path:
    if not VECTORS.is_dir():
        pytest.skip("the shared test vectors are not there")
    return VECTORS


def scene(index: int, size_wh=(96, 64)) -> np.ndarray:
    """A smooth picture that differs at every corner and from frame to frame."""
    width, height = size_wh
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    red, green = np.broadcast_to(x, (height, width)), np.broadcast_to(y, (height, width))
    blue = np.full((height, width), (index * 7 % 50) / 50)
    return np.rint(np.stack([red, green, blue], -1) * 200 + 20).astype(np.uint8)


def write_video(
    path: Path,
    ticks: Sequence[int] = range(10),
    *,
    time_base=Fraction(1, 25),
    size_wh=(96, 64),
    codec="libx264",
    pix_fmt="yuv420p",
    rotation=None,
    sound=None,
    sound_s=None,
    file_format=None,
    options=None,
    codec_options=None,
) -> Path:
    """One picture of `scene` for each tick; ``sound`` is an audio codec that plays a tone of ``sound_s``."""
    with av.open(str(path), "w", format=file_format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=codec_options or {})
        stream.width, stream.height = size_wh
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=SOUND_HZ, layout="mono") if sound else None
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(scene(index, size_wh), "rgb24")
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _mux_tone(container, tone, sound_s or len(ticks) / 25)
    return path


def _mux_tone(container, tone, seconds):
    samples = np.sin(np.arange(int(seconds * SOUND_HZ)) * 2 * np.pi * 440 / SOUND_HZ)
    frame = av.AudioFrame.from_ndarray((samples[None] * 20000).astype(np.int16), "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, 0, Fraction(1, SOUND_HZ)
    context = tone.codec_context  # open since the first mux
    resampler = av.AudioResampler(context.format, context.layout, SOUND_HZ, context.frame_size)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(tone.encode(part))
    container.mux(tone.encode(None))


def decode(path: Path):
    """What PyAV, the oracle, decodes: pictures and exact times."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.to_ndarray(format="rgb24") for f in frames], [f.pts * f.time_base for f in frames]


@pytest.fixture(name="scene")
def _scene():
    return scene


@pytest.fixture(name="write_video")
def _write_video():
    return write_video


@pytest.fixture(name="decode")
def _decode():
    return decode
