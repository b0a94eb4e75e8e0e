"""The sound of a source, packet by packet, for a file that is being written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import av.container
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from seqdet.video.probe import hide_password, open_container

# mp4 and mov may hold more (PCM, Vorbis), which few players play there.
_PLAYED_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})


class Sound:
    """The first sound track of a source: copied where the target knows its codec, else converted to AAC.

    What is wrong with the sound never fails the video: it becomes a warning.

    Args:
        source: a file with sound, or not.
        target: the container that is being written; the sound track is added to it.
        origin_s: the source time that is 0 in the target.

    Attributes:
        found: whether there is sound to take.
        warnings: sentences for the user.
    """

    def __init__(self, source: str | Path, target: av.container.OutputContainer, origin_s: float) -> None:
        self.warnings: list[str] = []
        self._shown = hide_password(str(source))
        self._origin_s = origin_s
        # An edit list hides the encoder's lead-in before 0; Matroska would shift the pictures to make room.
        self._keeps_lead_in = origin_s == 0 and target.format.name != "matroska"
        self._container: av.container.InputContainer | None = None
        self._copied_to: AudioStream | None = None
        self._encoder: AudioStream | None = None
        try:
            self._open(str(source), target)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.warnings.append(f"{self._shown}: its sound is left out ({error})")
            self.close()
        self.found = self._copied_to is not None or self._encoder is not None

    def _open(self, source: str, target: av.container.OutputContainer) -> None:
        self._container = open_container(source)
        if not self._container.streams.audio:
            return
        self._track = self._container.streams.audio[0]
        context = self._track.codec_context
        if context is None:
            self.warnings.append(f"{self._shown}: its sound is left out (no decoder for it)")
        elif _can_hold(target, context.codec.canonical_name):
            self._copied_to = target.add_stream_from_template(self._track)
        else:
            self.warnings.append(f"{self._shown}: its {context.name} sound is converted to AAC")
            layout = "mono" if context.layout.nb_channels == 1 else "stereo"
            rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48000
            self._encoder = target.add_stream("aac", rate=rate, layout=layout)

    def packets(self, end_s: float) -> Iterator[tuple[float, int, Packet]]:
        """Packets for the target with their time in the target and 1 (the order beside pictures).

        Args:
            end_s: no sound begins later than this, in seconds of the target.
        """
        try:
            if self._copied_to is not None:
                yield from self._copied(self._copied_to, end_s)
            elif self._encoder is not None:
                yield from self._encoded(self._encoder, end_s)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.warnings.append(f"{self._shown}: the rest of its sound is left out ({error})")

    def _copied(self, track: AudioStream, end_s: float) -> Iterator[tuple[float, int, Packet]]:
        assert self._container is not None
        for packet in self._container.demux(self._track):
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(self._origin_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            time_s = float(packet.dts * packet.time_base)
            if time_s > end_s:
                return
            if time_s >= 0 or self._keeps_lead_in:
                packet.stream = track
                yield time_s, 1, packet

    def _encoded(self, track: AudioStream, end_s: float) -> Iterator[tuple[float, int, Packet]]:
        assert self._container is not None
        context = track.codec_context
        context.open()
        resampler = av.AudioResampler(context.format, context.layout, context.rate, context.frame_size)
        for frame in self._container.decode(self._track):
            if frame.pts is None or frame.time_base is None:
                continue
            frame.pts -= round(self._origin_s / frame.time_base)
            time_s = float(frame.pts * frame.time_base)
            if time_s > end_s:
                break
            if time_s >= 0:
                yield from _encode(track, resampler.resample(frame))
        yield from _encode(track, [*resampler.resample(None), None])

    def close(self) -> None:
        """Release the source; safe to call twice."""
        if self._container is not None:
            self._container.close()
            self._container = None


def _can_hold(target: av.container.OutputContainer, codec: str) -> bool:
    """Whether players find sound of this codec in this format."""
    if target.format.name == "matroska":
        return codec in target.supported_codecs
    return codec in _PLAYED_IN_MP4


def _encode(track: AudioStream, frames: Sequence[AudioFrame | None]) -> Iterator[tuple[float, int, Packet]]:
    for frame in frames:
        for packet in track.encode(frame):
            yield float((packet.dts or 0) * packet.time_base), 1, packet
