"""Any part of a recorded source, exactly: frame k by seeking is frame k as read in order.

OpenCV guesses a number from a time and a nominal rate when it seeks, which fails at variable rates, odd
starts and open groups of pictures. Here the packets of a file are walked through once (a hundredth of
decoding it): their sorted presentation times number the frames, and the keyframes among them are where
decoding can begin. A span goes from one keyframe to another. It is decoded by PyAV (the same FFmpeg code
and the same conversion to RGB as OpenCV's: equal to the bit, tests hold it), from its keyframe or an
earlier one, and must give exactly the times that the walk found; what a stream shows of the span before its
keyframe (leading pictures of an open group) is passed over. Where packets have no times or times that
repeat, where OpenCV shows the first frame otherwise, and where a decoded span differs, the source is one
span, read in order by ``open_video``.

Opening a file and beginning at a keyframe takes as long as decoding ten small frames: a ``SpanReader`` keeps
its decoders, and one goes on where the next span is asked for.

Pictures without colour, as thermal cameras give them, stay one channel: a third of the work for all that
follows.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av.error
import av.video.frame
import cv2
import numpy as np

from seqdet.errors import InputError
from seqdet.types import Frame
from seqdet.video.capture import ROTATIONS
from seqdet.video.folder import is_image_name, list_images, read_image
from seqdet.video.levels import Pixels, one_channel
from seqdet.video.probe import CODECS_WITH_HIDDEN_PACKETS, open_container, picture_stream
from seqdet.video.reader import DEFAULT_IMAGE_FPS, MAX_PIXELS, open_video

# Shorter groups of pictures are taken together.
LEAST_FRAMES = 48
# Decoders that a reader keeps: a batch of clips goes on in as many files. Each holds a file and some frames.
MOST_OPEN = 16


class InexactError(Exception):
    """A span did not decode to the frames that its packets promise."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture of a span.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; (H, W) uint8 where the three channels are the same.
        index: position in the source, from 0.
        time_s: presentation time in seconds.
    """

    pixels: np.ndarray
    index: int
    time_s: float

    @property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.pixels if self.pixels.ndim == 3 else cv2.cvtColor(self.pixels, cv2.COLOR_GRAY2RGB)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where a source can be entered.

    Attributes:
        source: a video file or a folder of pictures.
        starts: (S,) int64 number of the first frame of each span; the first is 0.
        images: the pictures of a folder, else ().
        ticks: (N,) int64 presentation times of all frames; (0,) where it can only be read in order.
        time_base: seconds a tick.
        rotation_degrees: clockwise, to be applied.
        size_wh: stored width and height in pixels.
    """

    source: Path
    starts: np.ndarray
    images: tuple[Path, ...] = ()
    ticks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    time_base: Fraction = Fraction(1)
    rotation_degrees: int = 0
    size_wh: tuple[int, int] = (0, 0)

    def time_s(self, frame: int) -> float:
        """Presentation time of a frame: a division of whole numbers, which is exact to the last bit."""
        return self.ticks[frame].item() * self.time_base.numerator / self.time_base.denominator

    def part(self, number: int) -> tuple[int, int]:
        """First frame of a span, and the first behind it; what is behind the end is in the last span."""
        behind = int(self.starts[number + 1]) if number + 1 < len(self.starts) else sys.maxsize
        return int(self.starts[number]), behind

    def of(self, frame: int) -> int:
        """Number of the span that a frame is in; frames behind the end are in the last."""
        return int(np.searchsorted(self.starts, frame, side="right")) - 1


def in_order(source: Path) -> Spans:
    """One span: the source as ``open_video`` reads it."""
    return Spans(source, np.zeros(1, np.int64))


def find_spans(source: Path, frames: int, reader: SpanReader | None = None) -> Spans:
    """Where a source can be entered.

    Args:
        source: a video file or a folder of pictures.
        frames: how many it has; where the walk finds another number, it is read in order.
        reader: what will read it; has then opened its beginning.

    Raises:
        InputError: it cannot be read.
    """
    if source.is_dir():
        images = tuple(list_images(source))
        if len(images) != frames:
            return in_order(source)
        return Spans(source, np.arange(0, frames, LEAST_FRAMES, dtype=np.int64), images)
    if is_image_name(source):
        return in_order(source)
    with open_video(source) as in_turn:
        info, first = in_turn.info, next(iter(in_turn))
    ticks: list[int] = []
    keys: list[int] = []
    try:
        with open_container(str(source)) as container:
            stream = picture_stream(container, str(source))
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
            time_base = stream.time_base
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_discard or packet.is_corrupt:
                    return in_order(source)
                ticks.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
    except (av.error.FFmpegError, OSError):
        return in_order(source)
    order = np.sort(np.array(ticks, np.int64))
    unclear = len(order) != frames or codec in CODECS_WITH_HIDDEN_PACKETS or not time_base
    if unclear or (np.diff(order) <= 0).any() or not keys:
        return in_order(source)
    starts = [0]
    for start in np.searchsorted(order, np.sort(np.array(keys, np.int64))).tolist():
        if start - starts[-1] >= LEAST_FRAMES and frames - start >= LEAST_FRAMES // 2:
            starts.append(start)
    size_wh = info.size_wh if info.rotation_degrees % 180 == 0 else info.size_wh[::-1]
    time_base = time_base or Fraction(1)
    spans = Spans(source, np.array(starts), (), order, time_base, info.rotation_degrees, size_wh)
    is_equal = len(starts) > 1 and _is_equal(spans, first, reader or SpanReader())
    return spans if is_equal else in_order(source)


def _is_equal(spans: Spans, first: Frame, reader: SpanReader) -> bool:
    """Whether the first frame is the same when decoded as a span: colours of more than 8 bits are not."""
    try:
        frame = reader.first(spans)
    except InexactError:
        return False
    return np.array_equal(frame.rgb, first.rgb) and frame.time_s == first.time_s


class SpanReader:
    """Reads spans. Of each file read last it keeps a decoder, which goes on with the span that follows."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, _Decoder] = OrderedDict()

    def read(self, spans: Spans, number: int) -> Iterator[Picture]:
        """The frames of one span, numbered as in the whole source.

        Raises:
            InexactError: they are not those that the source promised; read it ``in_order``.
            InputError: the source cannot be read.
        """
        first, behind = spans.part(number)
        if spans.images:
            yield from _pictures(spans, first)
        elif not len(spans.ticks):
            with open_video(spans.source) as reader:
                for frame in reader:
                    yield Picture(one_channel(frame.rgb), frame.index, frame.time_s)
        else:
            yield from self._decoded(spans, first, min(behind, len(spans.ticks)))

    def first(self, spans: Spans) -> Picture:
        """The first frame of a file; ``read`` still gives it.

        Raises:
            InexactError: it is not the one that the file promised.
        """
        decoder = _Decoder(spans, 0)
        self._keep(decoder)
        return decoder.peek()

    def _decoded(self, spans: Spans, first: int, last: int) -> Iterator[Picture]:
        decoder = self._open.pop(spans.source, None)
        if decoder is None or decoder.spans is not spans or decoder.next != first:
            decoder = _Decoder(spans, first)
        for _ in range(first, last):
            yield decoder.take()
        if last < len(spans.ticks):
            self._keep(decoder)

    def _keep(self, decoder: _Decoder) -> None:
        self._open[decoder.spans.source] = decoder
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)


def _pictures(spans: Spans, first: int) -> Iterator[Picture]:
    for index in range(first, min(first + LEAST_FRAMES, len(spans.images))):
        try:
            pixels = one_channel(read_image(spans.images[index], MAX_PIXELS))
            yield Picture(pixels, index, index / DEFAULT_IMAGE_FPS)
        except InputError as error:  # read in order, those behind it move up
            raise InexactError(str(error)) from error


class _Decoder:
    """The frames of a file from a span's first one on, each held against the time that its packet has."""

    def __init__(self, spans: Spans, first: int) -> None:
        self.spans = spans
        self.next = first
        self._first = first
        self._convert = Pixels()
        self._coded = _from_before(str(spans.source), int(spans.ticks[first]))
        self._peeked: Picture | None = None

    def peek(self) -> Picture:
        """The next frame, which stays the next."""
        if self._peeked is None:
            self._peeked = self._picture()
        return self._peeked

    def take(self) -> Picture:
        """The next frame."""
        picture, self._peeked = self.peek(), None
        self.next += 1
        return picture

    def _picture(self) -> Picture:
        spans, wanted = self.spans, self.next
        coded = self._frame()
        if coded.pts != spans.ticks[wanted] or (coded.width, coded.height) != spans.size_wh:
            raise InexactError(f"frame {wanted} is not the one that its packet promised")
        if coded.format.components[0].bits > 8:
            raise InexactError("OpenCV and PyAV show colours of more than 8 bits differently")
        pixels = self._convert(coded)
        if spans.rotation_degrees:
            pixels = cv2.rotate(pixels, ROTATIONS[spans.rotation_degrees])
        return Picture(pixels, wanted, spans.time_s(wanted))

    def _frame(self) -> av.video.frame.VideoFrame:
        """As decoded; what the stream shows before the first one wanted is passed over."""
        try:
            for coded in self._coded:
                if coded.pts is not None and coded.pts >= self.spans.ticks[self.next]:
                    return coded
                if coded.pts is None or self.next > self._first:
                    raise InexactError(f"a frame that no packet promised, at {coded.pts}")
        except (av.error.FFmpegError, OSError) as error:
            raise InexactError(str(error)) from error
        raise InexactError(f"it ended before frame {self.next}")


def _from_before(path: str, tick: int) -> Iterator[av.video.frame.VideoFrame]:
    """Decode from a keyframe that is shown at ``tick`` or before, however far the container's index leaps."""
    back = 0
    while True:
        with open_container(path) as container:
            stream = picture_stream(container, path)
            stream.codec_context.thread_count = 1  # a worker is one thread
            from_start = tick - back <= (stream.start_time or 0)
            if not from_start:
                container.seek(tick - back, stream=stream, backward=True, any_frame=False)
            packets = container.demux(stream)
            packet = next((each for each in packets if each.size and each.is_keyframe), None)
            if packet is not None and packet.pts is not None and packet.pts <= tick:
                yield from stream.decode(packet)
                for packet in packets:
                    yield from stream.decode(packet)
                return
            if from_start:
                raise InexactError(f"no keyframe can be reached before {tick}")
            back = back * 2 or round(1 / (stream.time_base or 1))
