"""Frames to an H.264 file that plays everywhere, keeps the source's times and survives a kill.

Pictures grow into a hidden partial file beside the output: a fragmented mp4, one fragment a frame, which
plays up to its last fragment even after SIGKILL or on a full disk. Closing the writer copies that into the
final form (`finish`: index in front, source sound beside it), reopens it, counts its frames, syncs it to disk
and only then renames it. An output that existed before is whole until that moment.

Times: the output shows a frame at ``time_s - origin_s``. ``origin_s`` is 0 unless the first frame comes
before 0 or after 30 s (the arbitrary clock of a transport stream): then it is the time of the first. The
tick is 1/5760000 s, in which the common time bases (1/90000, 1/24000, 1/30000, 1/12800, 1/15360) are whole
numbers, so that a variable frame rate stays exact in mp4 and mov; Matroska itself knows milliseconds only.

Size: yuv420p wants even sides; an odd side is padded by one repeated row or column (``coded_size_wh``).
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.codec
import av.error
import numpy as np
from av.video.stream import VideoStream

from seqdet.claim import Claim
from seqdet.errors import OutputError, UsageError
from seqdet.video.finish import finish

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
TICK_S = Fraction(1, 5_760_000)
ENCODER_THREADS = 2
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_LARGEST_KEPT_OFFSET_S = 30.0
_FALLBACK_FPS = Fraction(30)
_SECONDS_BETWEEN_KEY_FRAMES = 2.0
# On top of a preset: the plainest motion search takes a third off "veryfast" and adds some 4 % to the file
# (docs/decisions/010).
_X264_PARAMETERS = {"veryfast": "subme=1:me=dia:"}
_BT601 = 6  # AVCOL_SPC_SMPTE170M: what the conversion from RGB uses, so that players undo the same


def encoder_name() -> str:
    """The video encoder that this installation of PyAV offers, best first: libx264, libopenh264 or mpeg4.

    Raises:
        OutputError: it has none of them.
    """
    for name in _ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except (av.error.FFmpegError, ValueError):
            continue
        return name
    raise OutputError(
        "this installation of PyAV has no H.264 encoder; reinstall it: pip install --force-reinstall av"
    )


def refuse_same_file(source: str | Path, out: str | Path) -> None:
    """Refuse to write over what is read, also through a link or a hard link.

    Raises:
        UsageError: both names are one file.
    """
    try:
        same = Path(source).samefile(out)
    except (OSError, ValueError):  # one of them is no file (yet), or a URL
        same = False
    if same:
        raise UsageError(f"{out}: the output is the input itself; choose another name")


def fitted(rgb: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A frame whose size changed in mid-stream, cut or padded to the size that the video began with."""
    width, height = size_wh
    if rgb.shape[:2] == (height, width):
        return rgb
    canvas = np.zeros((height, width, 3), np.uint8)
    part = rgb[:height, :width]
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas


class VideoWriter:
    """Writes one video; a context manager.

    Leaving the block finishes the file, also after an exception or Ctrl-C: what was written until then plays.
    Only after a failed write the partial file is left as it is, and the error names it.

    Args:
        path: where the video goes: .mp4, .m4v, .mov or .mkv.
        size_wh: width and height of the frames in pixels.
        fps_hint: nominal frames per second, for key frames and the last frame's duration only. Times rule: a
            hint that is not in 0..1000 is ignored with a warning.
        audio_from: a file whose first sound track is copied (or, where the output format does not know its
            codec, converted to AAC), shifted like the pictures.
        pixel_aspect: how many times wider than high a pixel is shown, as the source's `VideoInfo` says.
        crf: quality of x264, 0 (lossless) to 51; 23 is its default.
        preset: speed of x264; "veryfast" is made a third faster here.
        overwrite: replace an existing file.

    Attributes:
        frames: frames written so far.
        nudged: frames whose time was not later than the one before and was moved by a tick.
        origin_s: the source time that is 0 in the output.
        coded_size_wh: size of the output, even in both directions.
        warnings: sentences for the user.

    Raises:
        UsageError: unknown extension, existing output, missing or unwritable folder, unusable size.
        OutputError: no encoder.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size_wh: tuple[int, int],
        fps_hint: float | None = None,
        audio_from: str | Path | None = None,
        pixel_aspect: Fraction = Fraction(1),
        crf: int = 23,
        preset: str = "veryfast",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.size_wh = size_wh
        self.warnings: list[str] = []
        self.frames = self.nudged = 0
        self.origin_s = 0.0
        self._audio_from = audio_from
        self._first_tick: int | None = None
        self._last_tick: int | None = None
        self._muxed = 0
        self._failed = self._closed = False
        require_free(self.path, overwrite)
        if min(size_wh) < 1 or max(size_wh) > 16384:
            raise UsageError(f"a video is 1 to 16384 pixels wide and high, got {size_wh[0]}x{size_wh[1]}")
        if not 0 <= crf <= 51:
            raise UsageError(f"crf is 0 (lossless) to 51 (smallest), got {crf}")
        if audio_from is not None:
            refuse_same_file(audio_from, self.path)
        width, height = size_wh
        self.coded_size_wh = (width + width % 2, height + height % 2)
        if self.coded_size_wh != size_wh:
            self.warnings.append(
                f"{width}x{height} is padded to {self.coded_size_wh[0]}x{self.coded_size_wh[1]}"
            )
        self._fps = self._checked_fps(fps_hint)
        self.partial_path = self.path.with_name(f".{self.path.name}.partial.mp4")
        self._open(crf, preset, pixel_aspect)

    def _checked_fps(self, fps_hint: float | None) -> Fraction | None:
        if fps_hint is not None:
            if math.isfinite(fps_hint) and 0 < fps_hint <= 1000:
                return Fraction(fps_hint).limit_denominator(1001)
            self.warnings.append(f"{fps_hint} frames per second is ignored; the frames' own times are kept")
        return None

    def _open(self, crf: int, preset: str, pixel_aspect: Fraction) -> None:
        name = encoder_name()
        if name != "libx264":
            self.warnings.append(f"this PyAV has no libx264; {name} is used, files are larger")
        fps = self._fps or _FALLBACK_FPS
        # force-cfr: the frame rate in the bit stream is then the nominal one, not the tick's 5760000.
        x264 = {
            "crf": str(crf),
            "preset": preset,
            "x264-params": f"{_X264_PARAMETERS.get(preset, '')}force-cfr=1",
        }
        options = x264 if name == "libx264" else {}
        # One fragment a frame, each flushed: a kill loses only what the encoder still holds.
        flags = {
            "movflags": "frag_every_frame+delay_moov+default_base_moof",
            "movie_timescale": str(TICK_S.denominator),
            "flush_packets": "1",
        }
        try:
            self._claim = Claim(self.partial_path, self.path)
            self._container = av.open(str(self.partial_path), "w", format="mp4", options=flags)
        except (av.error.FFmpegError, OSError) as error:
            raise UsageError(f"{self.path}: cannot be written there ({error.strerror})") from error
        stream = self._container.add_stream(name, rate=fps, options=options)
        assert isinstance(stream, VideoStream)
        self._stream, context = stream, stream.codec_context
        context.width, context.height = self.coded_size_wh
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = pixel_aspect
        context.time_base = TICK_S
        context.gop_size = max(round(fps * _SECONDS_BETWEEN_KEY_FRAMES), 12)
        context.thread_count = ENCODER_THREADS
        context.colorspace = _BT601
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            self._container.close()
            self.partial_path.unlink(missing_ok=True)
            self._claim.release()
            raise UsageError(
                f"{name} refuses {self.size_wh}, crf {crf}, preset {preset!r} ({error})"
            ) from error
        # One picture for all frames: the encoder turns it into YUV, and so has its own copy, before the next.
        self._picture = av.VideoFrame(*self.coded_size_wh, "rgb24")
        plane, (width, height) = self._picture.planes[0], self.coded_size_wh
        self._pixels_rgb = np.ndarray(
            (height, width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1)
        )

    def write(self, rgb: np.ndarray, time_s: float) -> None:
        """Append one frame.

        Args:
            rgb: (H, W, 3) uint8 of the size given at creation; need not be contiguous.
            time_s: presentation time in seconds in the source's clock.

        Raises:
            ValueError: not such a frame or time; nothing is written.
            OutputError: the disk is full or the encoder failed; the partial file stays and plays.
        """
        self._require_frame(rgb, time_s)
        if self._last_tick is None and not 0 <= time_s <= _LARGEST_KEPT_OFFSET_S:
            self.origin_s = time_s
        tick = round((time_s - self.origin_s) / TICK_S)
        if self._last_tick is not None and tick <= self._last_tick:
            tick = self._last_tick + 1
            self.nudged += 1
        if self._first_tick is None:
            self._first_tick = tick
        self._last_tick = tick
        width, height = self.size_wh
        self._pixels_rgb[:height, :width] = rgb
        self._pixels_rgb[height:, :width] = rgb[-1:]
        self._pixels_rgb[:, width:] = self._pixels_rgb[:, width - 1 : width]
        frame = self._picture
        frame.pts, frame.time_base = tick, TICK_S
        self.frames += 1
        self._encode(frame)

    def _require_frame(self, rgb: np.ndarray, time_s: float) -> None:
        if self._closed or self._failed:
            raise ValueError(f"{self.path}: the writer is closed")
        wanted = (self.size_wh[1], self.size_wh[0], 3)
        if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.shape != wanted:
            got = f"{rgb.shape} {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
            raise ValueError(f"frame {self.frames} must be {wanted} uint8 RGB, got {got}")
        if not math.isfinite(time_s):
            raise ValueError(f"frame {self.frames} needs a finite time in seconds, got {time_s}")

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
                self._muxed += 1
        except (av.error.FFmpegError, OSError) as error:
            raise self._fail(error) from error

    def _fail(self, error: Exception) -> OutputError:
        """Give up writing; the partial file stays as it is."""
        self._failed = True
        with contextlib.suppress(av.error.FFmpegError, OSError):  # the disk that was full is still full
            self._container.close()
        self._claim.release()
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(
            f"{self.path}: writing failed at frame {self.frames} ({reason}); free space or choose another "
            f"place. What was written until then plays: {self.partial_path}"
        )

    def close(self, *, interrupted: bool = False) -> None:
        """Finish the file: flush, put the index in front, add the sound, check, sync, rename.

        Args:
            interrupted: True after an exception: without any frame there is then simply no output.

        Raises:
            OutputError: it could not be finished or does not hold every frame, or no frame was ever written.
        """
        if self._closed or self._failed:
            return
        self._closed = True
        with self._claim:
            self._finish(interrupted)

    def _finish(self, interrupted: bool) -> None:
        if self.frames == 0:
            self._container.close()
            self.partial_path.unlink(missing_ok=True)
            if interrupted:
                return
            raise OutputError(f"{self.path}: not written, because no frame came")
        self._encode(None)
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise self._fail(error) from error
        if not interrupted and self._muxed != self.frames:
            raise OutputError(
                f"{self.path}: {self.frames} frames given, {self._muxed} encoded; see {self.partial_path}"
            )
        frame_s = self._frame_s()
        self.warnings += finish(
            self.partial_path,
            self.path,
            frames=self._muxed,
            frame_s=frame_s,
            end_s=float((self._last_tick or 0) * TICK_S) + frame_s,
            audio_from=self._audio_from,
            origin_s=self.origin_s,
        )

    def _frame_s(self) -> float:
        """Nominal duration of a frame in seconds: as hinted, else the mean of what was written."""
        if self._fps is not None:
            return float(1 / self._fps)
        span_s = float(((self._last_tick or 0) - (self._first_tick or 0)) * TICK_S)
        return span_s / (self.frames - 1) if self.frames > 1 else float(1 / _FALLBACK_FPS)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(interrupted=True)
        except OutputError as second:
            error.add_note(str(second))


def require_free(path: Path, overwrite: bool) -> None:
    """Refuse a name that no video can be written under.

    Raises:
        UsageError: another ending, no such folder, or something that exists and is not to be replaced.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a video is written as {', '.join(SUFFIXES)}; give it one of these endings")
    try:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: the folder {path.parent} does not exist; create it first")
        exists, is_file = path.exists(), path.is_file()
    except (OSError, ValueError) as error:  # the name is too long, or holds a null
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: cannot be written there ({reason})") from error
    if exists and not is_file:
        raise UsageError(f"{path}: is not a file; choose another name")
    if exists and not overwrite:
        raise UsageError(f"{path}: exists already; give --force to replace it, or another name")
