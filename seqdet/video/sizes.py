"""Whether the size of pictures changes in a file, which OpenCV hides: it scales all to the first one."""

from __future__ import annotations

import av
import av.error
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

# A size changes at keyframes. Of files that hold nothing else not each is decoded once more.
_LOOK_EVERY_S = 0.5


class Sizes:
    """Looks at keyframes while somebody walks through the packets.

    Args:
        context: decodes them; nobody else may use it. None: no decoder, nothing is seen.

    Attributes:
        change: the sizes before and after, (width, height) in pixels, and the number of the packet;
            None: it has one size.
    """

    def __init__(self, context: VideoCodecContext | None) -> None:
        self.change: tuple[tuple[int, int], tuple[int, int], int] | None = None
        self._context = context
        self._first: tuple[int, int] | None = None
        self._looked_s: float | None = None
        if context is not None:
            context.thread_type = ThreadType.NONE  # else frames come later than their packets

    def look(self, packet: Packet, number: int, time_s: float) -> None:
        """Decode a packet of the picture stream if a size may begin with it.

        Args:
            packet: with data.
            number: of the packet, from 0.
            time_s: its time in seconds.
        """
        if self.change or self._context is None or not packet.is_keyframe:
            return
        if self._looked_s is not None and abs(time_s - self._looked_s) < _LOOK_EVERY_S:
            return
        self._looked_s = time_s
        try:
            frames = [*self._context.decode(packet), *self._context.decode(None)]
            self._context.flush_buffers()
        except (av.error.FFmpegError, ValueError):  # damage is counted elsewhere
            return
        for frame in frames:
            size_wh = (frame.width, frame.height)
            self._first = self._first or size_wh
            if size_wh != self._first:
                self.change = (self._first, size_wh, number)
                return
