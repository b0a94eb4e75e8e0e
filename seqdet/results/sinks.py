"""Where results are written: one row format per file extension, each a context manager.

    .jsonl      every row as one JSON object a line: ``{"type": "detection", ...}`` and, at the end of each
                source, ``{"type": "sequence", ...}``
    .csv        the detection rows as a table
    .mot.txt    MOT Challenge lines of one source: frame,track,left,top,width,height,score,class,1 where
                frames, pixel coordinates and classes count from 1; class is the track's where it is known
    .coco.json  images, annotations and categories as COCO has them, with scores, tracks and videos

A detection whose track is not confirmed yet has track id -1, an empty track label and a track score of 0.

A file is written under a temporary name (``NAME.part``) in its folder and gets its own name when it is whole.
Rows reach the file frame by frame, so that a killed run leaves what it found. Several sources go to one file.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from seqdet.claim import Claim
from seqdet.errors import OutputError, UsageError
from seqdet.types import FrameResult, SequenceResult

CSV_COLUMNS = (
    *("source", "frame", "time_s", "track_id", "label", "score", "track_label", "track_score"),
    *("x1_px", "y1_px", "x2_px", "y2_px"),
)


def open_sink(path: str | Path, classes: Sequence[str], overwrite: bool = False, sources: int = 1) -> Sink:
    """Begin a file of rows; use it in a ``with`` block.

    Args:
        path: the file to write; its extension chooses the format.
        classes: names of the classes.
        overwrite: whether a file that exists may be replaced.
        sources: how many sources will be written, when that is known.

    Raises:
        UsageError: before any work: an unknown extension, a file that exists, a folder that is missing or
            cannot be written to, or several sources for a format that holds one.
    """
    path = Path(path)
    return Sink(path, _FORMATS[require_free(path, overwrite, sources)], tuple(classes), overwrite)


def require_free(path: Path, overwrite: bool = False, sources: int = 1) -> str:
    """The ending that chooses the format of rows, for a name that they can be written under.

    Raises:
        UsageError: as for `open_sink`; that a folder cannot be written to shows when the file is begun.
    """
    extension = next((known for known in _FORMATS if path.name.lower().endswith(known)), None)
    if extension is None or len(path.name) == len(extension):
        raise UsageError(f"cannot tell the format of {path}: its name must end in {', '.join(_FORMATS)}")
    if extension == ".mot.txt" and sources > 1:
        many = f"{path}: a .mot.txt file holds one source, {sources} were given"
        raise UsageError(f"{many}; save to .jsonl, or run them one by one")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists; choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    return extension


class Format(Protocol):
    """Turns results into text, piece by piece. One object serves one file."""

    def begin(self, classes: tuple[str, ...]) -> Iterator[str]:
        """What stands before the first row."""

    def frame(self, source: str, result: FrameResult) -> Iterator[str]:
        """The rows of one frame."""

    def sequence(self, sequence: SequenceResult) -> Iterator[str]:
        """The row of a whole source."""

    def end(self) -> Iterator[str]:
        """What stands behind the last row."""

    def close(self) -> None:
        """Let go of what was held besides the file."""


class Sink:
    """One open file of rows. Leaving the ``with`` block finishes the file, after an error too.

    Attributes:
        path: the name that the file has when it is whole.
        part_path: the name that it has until then.
    """

    def __init__(self, path: Path, make: Callable[[], Format], classes: tuple[str, ...], overwrite: bool):
        self.path = path
        self.part_path = path.with_name(path.name + ".part")
        self._overwrite, self._failed = overwrite, False
        try:
            self._claim = Claim(self.part_path, path)
            self._file: IO[str] = self.part_path.open(
                "w", encoding="utf-8", errors="backslashreplace", newline=""
            )
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror or error}; choose a folder that you may write to"
            ) from error
        self._format = make()
        self._put(self._format.begin(classes))

    def write(self, source: str, result: FrameResult) -> None:
        """Add the detections of one frame.

        Raises:
            OutputError: when the disk is full or the file cannot be written; what it holds is kept.
        """
        self._put(self._format.frame(source, result))

    def end_sequence(self, sequence: SequenceResult) -> None:
        """Add what a whole source held, after its last frame.

        Raises:
            OutputError: as for ``write``.
        """
        self._put(self._format.sequence(sequence))

    def close(self) -> None:
        """Finish the file and give it its name; does nothing the second time, and after a failed write.

        Raises:
            OutputError: when it cannot be written, or its name was taken meanwhile.
        """
        if self._file.closed:
            return
        self._put(self._format.end())
        self._sync()
        self._file.close()
        self._format.close()
        with self._claim:
            if os.path.lexists(self.path) and not self._overwrite:
                raise OutputError(
                    f"{self.path} was made by somebody else meanwhile; the rows are in {self.part_path}"
                )
            try:
                os.replace(self.part_path, self.path)
            except OSError as error:
                raise OutputError(
                    f"cannot name {self.path}: {error.strerror}; the rows are in {self.part_path}"
                ) from error

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, pieces: Iterable[str]) -> None:
        if self._failed:  # told already; whoever ends its sequence all the same is not told twice
            return
        try:
            for text in pieces:
                self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        self._failed = True
        with contextlib.suppress(OSError):
            self._file.close()  # tries to write the rest once more
        self._format.close()
        self._claim.release()
        return OutputError(
            f"cannot write {self.path}: {error.strerror or error}; what it held so far is in {self.part_path}"
        )


def detection_rows(source: str, result: FrameResult) -> Iterator[dict[str, Any]]:
    """The rows of one frame, by the contract of ``--save``; rounded to .01 px, .0001 and a microsecond."""
    found = result.detections
    columns = zip(
        found.track_ids.tolist(),
        result.labels,
        found.scores.tolist(),
        result.track_labels,
        found.track_scores.tolist(),
        found.boxes_xyxy_px.tolist(),
        found.masks.tolist(),
        strict=True,
    )
    for track_id, label, score, track_label, track_score, box, mask in columns:
        yield {
            "type": "detection",
            "source": source,
            "frame": result.frame.index,
            "time_s": round(result.time_s, 6),
            "track_id": track_id,
            "label": label,
            "score": round(score, 4),
            "track_label": track_label,
            "track_score": round(track_score, 4),
            "box_xyxy_px": [round(edge, 2) for edge in box],
            **({"mask": {"size": list(result.frame.size_wh[::-1]), "counts": mask}} if mask else {}),
        }


def sequence_row(sequence: SequenceResult) -> dict[str, object]:
    """The row of a whole source by the contract of ``--save``."""
    return {
        "type": "sequence",
        "source": sequence.source,
        "frames": sequence.frames,
        "duration_s": round(sequence.duration_s, 6),
        "label": sequence.label,
        "score": round(sequence.score, 4),
        "tracks": [
            {
                "track_id": track.track_id,
                "label": track.label,
                "score": round(track.score, 4),
                "first_frame": track.first_frame,
                "last_frame": track.last_frame,
                "detections": track.detections,
            }
            for track in sequence.tracks
        ],
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _JsonLines:
    def begin(self, classes: tuple[str, ...]) -> Iterator[str]:
        yield from ()

    def frame(self, source: str, result: FrameResult) -> Iterator[str]:
        return (_json(row) + "\n" for row in detection_rows(source, result))

    def sequence(self, sequence: SequenceResult) -> Iterator[str]:
        yield _json(sequence_row(sequence)) + "\n"

    def end(self) -> Iterator[str]:
        yield from ()

    def close(self) -> None:
        pass


class _Csv:
    def begin(self, classes: tuple[str, ...]) -> Iterator[str]:
        yield ",".join(CSV_COLUMNS) + "\n"

    def frame(self, source: str, result: FrameResult) -> Iterator[str]:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in detection_rows(source, result):
            cells = [row[name] for name in CSV_COLUMNS[:8]]
            writer.writerow([*cells, *row["box_xyxy_px"]])
        yield text.getvalue()

    def sequence(self, sequence: SequenceResult) -> Iterator[str]:
        yield from ()

    def end(self) -> Iterator[str]:
        yield from ()

    def close(self) -> None:
        pass


class _Mot:
    def __init__(self) -> None:
        self._source: str | None = None

    def begin(self, classes: tuple[str, ...]) -> Iterator[str]:
        yield from ()

    def frame(self, source: str, result: FrameResult) -> Iterator[str]:
        if self._source is None:
            self._source = source
        if source != self._source:
            raise UsageError(
                f"a .mot.txt file holds one source and has {self._source}, not {source}; save to .jsonl"
            )
        found = result.detections
        for (x1, y1, x2, y2), score, track_id, class_id, track_class_id in zip(
            found.boxes_xyxy_px.tolist(),
            found.scores.tolist(),
            found.track_ids.tolist(),
            found.class_ids.tolist(),
            found.track_class_ids.tolist(),
            strict=True,
        ):
            shown = track_class_id if track_class_id >= 0 else class_id
            yield (
                f"{result.frame.index + 1},{track_id},{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
                f"{score:.4f},{shown + 1},1\n"
            )

    def sequence(self, sequence: SequenceResult) -> Iterator[str]:
        yield from ()

    def end(self) -> Iterator[str]:
        yield from ()

    def close(self) -> None:
        pass


class _Coco:
    """Annotations go to the file as they come; images wait in a second, nameless one: memory stays flat."""

    def __init__(self) -> None:
        self._images: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115 - closed in close()
            "w+", encoding="utf-8", errors="backslashreplace"
        )
        self._image_count = 0
        self._annotation_count = 0
        self._video_ids: dict[str, int] = {}
        self._videos: list[dict[str, object]] = []

    def begin(self, classes: tuple[str, ...]) -> Iterator[str]:
        categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
        yield f'{{"categories": {_json(categories)},\n"annotations": ['

    def frame(self, source: str, result: FrameResult) -> Iterator[str]:
        video_id = self._video_ids.setdefault(source, len(self._video_ids) + 1)
        self._image_count += 1
        width, height = result.frame.size_wh
        image = {
            "id": self._image_count,
            "video_id": video_id,
            "file_name": f"{source}#{result.frame.index}",
            "frame_id": result.frame.index,
            "time_s": round(result.time_s, 6),
            "width": width,
            "height": height,
        }
        self._images.write((",\n" if self._image_count > 1 else "\n") + _json(image))
        class_ids = result.detections.class_ids.tolist()
        for row, class_id in zip(detection_rows(source, result), class_ids, strict=True):
            self._annotation_count += 1
            x1, y1, x2, y2 = row["box_xyxy_px"]
            annotation = {
                "id": self._annotation_count,
                "image_id": self._image_count,
                "video_id": video_id,
                "category_id": class_id + 1,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                "area": round((x2 - x1) * (y2 - y1), 4),
                "iscrowd": 0,
                **({"segmentation": row["mask"]} if "mask" in row else {}),
                **{name: row[name] for name in ("score", "track_id", "track_label", "track_score")},
            }
            yield (",\n" if self._annotation_count > 1 else "\n") + _json(annotation)

    def sequence(self, sequence: SequenceResult) -> Iterator[str]:
        row = sequence_row(sequence)
        video_id = self._video_ids.setdefault(sequence.source, len(self._video_ids) + 1)
        self._videos.append({"id": video_id, "name": row.pop("source"), **row})
        yield from ()

    def end(self) -> Iterator[str]:
        yield '],\n"images": ['
        self._images.seek(0)
        while text := self._images.read(1 << 20):
            yield text
        yield f'],\n"videos": {_json(self._videos)}}}\n'

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it had is lost anyway, or was copied
            self._images.close()


_FORMATS: dict[str, Callable[[], Format]] = {
    ".jsonl": _JsonLines,
    ".csv": _Csv,
    ".mot.txt": _Mot,
    ".coco.json": _Coco,
}
