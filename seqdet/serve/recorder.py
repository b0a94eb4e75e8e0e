"""Recording what is seen, boxes drawn in, to H.264 files, beside the loop and never in its way.

Names come from the clock, ids from `secrets`; nothing that a viewer sends becomes part of a path.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from seqdet.errors import OutputError, SeqdetError, UsageError
from seqdet.live_types import LiveFrame
from seqdet.results.draw import Annotator
from seqdet.serve.session import Shown
from seqdet.video.writer import VideoWriter, fitted

MAX_LENGTH_S = 3600.0
FREE_TO_START_BYTES = 500_000_000
FREE_TO_GO_ON_BYTES = 200_000_000
_FRAMES_BETWEEN_LOOKS = 50  # at the free space
_DEPTH = 16  # frames that wait for the encoder; beyond, the newest is left out and counted
_QUICK_PRESET = "superfast"  # the detector wants the cores


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording.

    Attributes:
        id: by which it can be fetched; says nothing of its place.
        name: of the file.
        state: "recording", "finishing", "done" or "failed".
        frames: written so far.
        seconds: from the first to the last of them.
        skipped: frames left out because the encoder did not keep up.
        message: why it ended, "" while nothing is to be said.
    """

    id: str
    name: str
    state: Literal["recording", "finishing", "done", "failed"] = "recording"
    frames: int = 0
    seconds: float = 0.0
    skipped: int = 0
    message: str = ""


class Recorder:
    """Writes at most one recording at a time. Every method may be called from any thread.

    Args:
        folder: where recordings go.
        classes: names of the classes.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._folder = folder
        self._classes = tuple(classes)
        self._lock = threading.Lock()
        self._recordings: dict[str, Recording] = {}
        self._current: _Work | None = None

    def start(self, shown: Shown) -> Recording:
        """Begin with the next frame.

        Args:
            shown: which detections are drawn.

        Raises:
            UsageError: one is being written already, or the folder cannot be written to or is nearly full.
        """
        with self._lock:
            if self._current is not None and self._current.thread.is_alive():
                raise UsageError("a recording is being made already; stop it first")
            try:
                free = shutil.disk_usage(self._folder).free
            except OSError as error:
                raise UsageError(f"the folder for recordings cannot be used ({error.strerror})") from error
            if free < FREE_TO_START_BYTES:
                raise UsageError(
                    f"{free / 1e6:.0f} MB are free; a recording wants {FREE_TO_START_BYTES / 1e6:.0f}"
                )
            recording = Recording(secrets.token_hex(8), self._free_name())
            self._recordings[recording.id] = recording
            self._current = _Work(self, recording.id, self._folder / recording.name, shown)
            self._current.thread.start()
            return recording

    def offer(self, frame: LiveFrame) -> None:
        """Take a frame if a recording is being made; never waits."""
        work = self._current
        if work is None or work.stopping.is_set():
            return
        try:
            work.frames.put_nowait(frame)
        except queue.Full:
            self.update(work.id, skipped=self._recordings[work.id].skipped + 1)

    def stop(self) -> Recording | None:
        """End the recording that is being made; it is finished in the background. None: there is none."""
        with self._lock:
            work = self._current
        if work is None or not work.thread.is_alive():
            return None
        work.stopping.set()
        if self._recordings[work.id].state == "recording":
            self.update(work.id, state="finishing")
        return self._recordings[work.id]

    def close(self) -> None:
        """End the recording that is being made, and wait until its file is whole."""
        self.stop()
        if self._current is not None:
            self._current.thread.join()

    def recordings(self) -> tuple[Recording, ...]:
        """All recordings of this session, oldest first."""
        with self._lock:
            return tuple(self._recordings.values())

    def path(self, recording_id: str) -> Path | None:
        """The whole file of a recording; None when there is no such recording or it is not whole."""
        recording = self._recordings.get(recording_id)
        return self._folder / recording.name if recording is not None and recording.state == "done" else None

    def update(self, recording_id: str, **changes: object) -> None:
        """Note how a recording is."""
        with self._lock:
            self._recordings[recording_id] = replace(self._recordings[recording_id], **changes)  # type: ignore[arg-type]

    def annotator(self) -> Annotator:
        """A new annotator with this session's classes."""
        return Annotator(self._classes)

    def _free_name(self) -> str:
        stem = datetime.now().astimezone().strftime("seqdet-%Y-%m-%d-%H%M%S")
        taken = {recording.name for recording in self._recordings.values()}
        names = [f"{stem}.mp4", *(f"{stem}-{number}.mp4" for number in range(2, 100))]
        return next(n for n in names if n not in taken and not (self._folder / n).exists())


class _Work:
    """One recording while it is made, with its thread and the frames that wait."""

    def __init__(self, recorder: Recorder, recording_id: str, path: Path, shown: Shown) -> None:
        self.id = recording_id
        self.frames: queue.Queue[LiveFrame] = queue.Queue(_DEPTH)
        self.stopping = threading.Event()
        self._recorder, self._path, self._shown = recorder, path, shown
        # Not a daemon: a program that ends waits until the file is whole.
        self.thread = threading.Thread(target=self._run, name="seqdet recorder")

    def _run(self) -> None:
        try:
            message = self._write()
        except SeqdetError as error:
            # Viewers need not know where on this machine the folder is.
            message = str(error).replace(f"{self._path.parent}{os.sep}", "")
            self._recorder.update(self.id, state="failed", message=message)
        else:
            self._recorder.update(self.id, state="done", message=message)
        finally:
            self.stopping.set()

    def _write(self) -> str:
        """Write until told to stop; returns why it ended."""
        first = self._next()
        if first is None:
            raise OutputError("nothing was recorded, because no picture came")
        size_wh, annotator, message = first.result.frame.size_wh, self._recorder.annotator(), ""
        with VideoWriter(self._path, size_wh=size_wh, preset=_QUICK_PRESET) as writer:
            frame: LiveFrame | None = first
            while frame is not None:
                # By the clock of the machine: that of the source begins anew when a stream comes back.
                time_s = frame.captured_at_s - first.captured_at_s
                writer.write(fitted(annotator.draw(self._shown.of(frame.result)), size_wh), time_s)
                self._recorder.update(self.id, frames=writer.frames, seconds=round(time_s, 2))
                message = self._why_enough(writer.frames, time_s)
                if message:
                    self.stopping.set()
                    break
                frame = self._next()
            self._recorder.update(self.id, state="finishing")
        return message

    def _next(self) -> LiveFrame | None:
        """The next frame that waits; None once told to stop and all that waited is taken."""
        while True:
            try:
                return self.frames.get(timeout=0.1)
            except queue.Empty:
                if self.stopping.is_set():
                    return None

    def _why_enough(self, frames: int, time_s: float) -> str:
        if time_s >= MAX_LENGTH_S:
            return f"stopped after {MAX_LENGTH_S / 60:.0f} minutes"
        if frames % _FRAMES_BETWEEN_LOOKS == 0:
            free = shutil.disk_usage(self._path.parent).free
            if free < FREE_TO_GO_ON_BYTES:
                return f"stopped, because only {free / 1e6:.0f} MB are free"
        return ""
