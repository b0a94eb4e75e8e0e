"""From the partial file to the final one: copy the pictures, add the sound, check, sync, rename.

Nothing is encoded again except sound whose codec the output format does not know.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.packet
import av.video.stream

from seqdet.errors import InputError, OutputError
from seqdet.video.probe import count_packets, hide_password
from seqdet.video.sound import Sound

# Sound may go on this long after the last frame; beyond it belongs to frames that were not written.
_SOUND_AFTER_LAST_FRAME_S = 1.0
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EROFS})


def finish(
    partial: Path,
    path: Path,
    *,
    frames: int,
    end_s: float,
    frame_s: float,
    audio_from: str | Path | None,
    origin_s: float,
) -> list[str]:
    """Make the final file from a partial one and remove that.

    Args:
        partial: the fragmented mp4 with the pictures.
        path: the final name; replaced in one step.
        frames: how many frames it must hold.
        end_s: when the last frame ends, in seconds of the output.
        frame_s: duration of the last frame in seconds.
        audio_from: a file whose first sound track is taken, or None.
        origin_s: the source time that is 0 in the output.

    Returns:
        Sentences for the user on sound that could not be taken over as it was.

    Raises:
        OutputError: disk full, or the result does not hold ``frames`` frames; ``partial`` stays and plays.
    """
    whole = path.with_name(f".{path.name}.whole{path.suffix}")
    try:
        try:
            warnings = _remux(partial, whole, end_s, frame_s, audio_from, origin_s)
        except (av.error.FFmpegError, ValueError) as error:
            if audio_from is None or (isinstance(error, OSError) and error.errno in _DISK_ERRORS):
                raise
            # Rather a video without sound than none.
            _remux(partial, whole, end_s, frame_s, None, origin_s)
            warnings = [f"{hide_password(str(audio_from))}: its sound is left out ({error})"]
        counted = count_packets(whole)
        if counted.packets != frames or counted.broke:
            raise OutputError(
                f"{path}: {frames} frames were written, {counted.packets} are in the file; "
                f"the pictures are kept in {partial}"
            )
        _sync(whole)
        os.replace(whole, path)
        _sync(path.parent)
    except (av.error.FFmpegError, OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"{path}: could not be finished ({reason}); what was written plays: {partial}"
        ) from error
    finally:
        whole.unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    return warnings


def _remux(
    partial: Path, whole: Path, end_s: float, frame_s: float, audio_from: str | Path | None, origin_s: float
) -> list[str]:
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(av.open(str(partial)))
        pictures = source.streams.video[0]
        options = {}
        if whole.suffix.lower() != ".mkv":
            # The pause before a late first frame is stored in this unit; 1/90000 s is the customary one.
            tick_s = pictures.time_base if pictures.start_time and pictures.time_base else Fraction(1, 90_000)
            options = {"movflags": "faststart", "movie_timescale": str(tick_s.denominator)}
        target = opened.enter_context(av.open(str(whole), "w", options=options))
        copy = target.add_stream_from_template(pictures)
        copy.time_base = pictures.time_base
        copy.codec_context.framerate = Fraction(1 / frame_s).limit_denominator(1001)
        tracks = [_pictures(source, copy, frame_s)]
        sound = Sound(audio_from, target, origin_s) if audio_from is not None else None
        try:
            if sound is not None and sound.found:
                tracks.append(sound.packets(end_s + _SOUND_AFTER_LAST_FRAME_S))
            for _, _, packet in heapq.merge(*tracks, key=lambda entry: entry[:2]):
                target.mux(packet)
        finally:
            if sound is not None:
                sound.close()
    return sound.warnings if sound is not None else []


def _pictures(
    source: av.container.InputContainer, copy: av.video.stream.VideoStream, frame_s: float
) -> Iterator[tuple[float, int, av.packet.Packet]]:
    """Packets with their decoding time in seconds and 0 (the order beside sound)."""
    for packet in source.demux(source.streams.video[0]):
        if packet.dts is None or packet.pts is None:
            continue
        packet.duration = round(
            frame_s / packet.time_base
        )  # used for the last: others end where the next begins
        packet.stream = copy
        yield float(packet.dts * packet.time_base), 0, packet


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
