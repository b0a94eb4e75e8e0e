"""YOLO labels: a text file for each image, one line a box, all coordinates as fractions of the image.

    class x y width height                    centre and size
    class x y width height K                  K: a track id or a confidence, see below
    class x y width height confidence id      as Ultralytics writes tracks
    class x1 y1 x2 y2 x3 y3 ...               a polygon (or a turned box); its enclosing box is taken

The sixth column holds track ids when it holds whole numbers only (in all files), else confidences. If these
are 0 and 1 alone, they are ids unless a frame has one of them twice. Seven columns are a box with confidence
and id when the last is whole in all such lines, and above 1 in one or no line is longer; else three points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence, read_text
from seqdet.data.formats.yolo_config import YoloConfig, read_config
from seqdet.data.formats.yolo_layout import YoloItem, find_items, looks_like_yolo
from seqdet.errors import InputError
from seqdet.video.folder import image_size
from seqdet.video.probe import count_packets
from seqdet.video.reader import MAX_PIXELS, read_info

NAME = "yolo"
LOOKS = (
    "images/ and labels/ with a .txt of 'class x y width height' for each image, or data.yaml, or obj.data"
)
COLUMNS = ("class", "x centre", "y centre", "width", "height")
NO_FILE = "frame without a label file: taken as a frame without object"
POLYGON = "polygon: its enclosing box is taken"
KEYPOINTS = "key points: left out, the box is kept"
CONFIDENCE = "the sixth column is taken as confidence and not used: all boxes are kept"
TRACKS = "the sixth column is taken as track ids"
TOLERANCE = 0.01  # a coordinate may be so far outside of 0..1; the box is then clipped, and counted
ROUNDING = 1e-5  # an edge so near to that of the image is on it: labels have five or six decimals
_LARGEST_ID = 2**53


def sniff(source: Path) -> bool:
    """True for a described data set, or a folder where text files of such lines belong to its images."""
    return looks_like_yolo(source)


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all label files of a folder, or of the ``data.yaml`` or ``obj.data`` that is given.

    Raises:
        InputError: a file that cannot be read at all, or no labels.
    """
    config = read_config(source, problems)
    items = find_items(config, problems)
    files = [(index, frame, path) for index, item in enumerate(items) for frame, path in item.labels.items()]
    lines = _read_lines([path for *_, path in files])
    rows = _parse(lines, config, problems)
    owner = np.array([index for index, *_ in files], np.int64)[lines.file]
    frame = np.array([frame for _, frame, _ in files], np.int64)[lines.file]
    track_id, notes = _track_ids(rows, lines, owner, frame, problems)
    names = config.names
    if names is None:
        used = np.unique(rows.class_id[rows.good]).tolist()
        names = {number: f"class_{number}" for number in used or [0]}
        notes.append(f"no file names the classes: they are called {_listed(names)}")
    numbers = np.array(sorted(names), np.int64)
    known = np.isin(rows.class_id, numbers)
    for row in np.flatnonzero(rows.good & ~known).tolist():
        problems.fail(lines.place(row), f"class: {rows.class_id[row]} is unknown; there are {_listed(names)}")
    keep = rows.good & known
    class_id = np.searchsorted(numbers, rows.class_id)
    bounds = np.searchsorted(owner, np.arange(len(items) + 1))
    sequences = []
    for index, item in enumerate(items):
        part = np.arange(bounds[index], bounds[index + 1])
        part = part[keep[part]]
        columns = (lines.number[part], frame[part], track_id[part], class_id[part], rows.edges_xyxy[part])
        sequences.append(_sequence(item, columns, problems))
    classes = tuple(names[number] for number in sorted(names))
    return RawDataset(classes, sequences, tuple(dict.fromkeys((*config.notes, *notes))))


def _listed(names: dict[int, str]) -> str:
    shown = ", ".join(f"{number} {name}" for number, name in list(names.items())[:20])
    return f"{shown}, ... ({len(names)} classes)" if len(names) > 20 else shown


@dataclass(frozen=True, slots=True)
class _Lines:
    """All lines of all files that are not blank: text, index of the file, number in it from 1."""

    paths: list[Path]
    text: list[str]
    file: np.ndarray
    number: np.ndarray

    def place(self, row: int) -> str:
        """For messages."""
        return f"{self.paths[self.file[row]]}:{self.number[row]}"


def _read_lines(paths: list[Path]) -> _Lines:
    text: list[str] = []
    numbers: list[int] = []
    ends = [0]
    for path in paths:
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if line and not line.isspace():
                text.append(line)
                numbers.append(number)
        ends.append(len(text))
    return _Lines(paths, text, np.repeat(np.arange(len(paths)), np.diff(ends)), np.array(numbers, np.int64))


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the lines say: class, edges as fractions, the last column (NaN for none), and which are usable.

    ``confident`` marks lines of seven columns: their ids are ids whatever the others hold.
    """

    class_id: np.ndarray
    edges_xyxy: np.ndarray
    extra: np.ndarray
    confident: np.ndarray
    good: np.ndarray


def _parse(lines: _Lines, config: YoloConfig, problems: Problems) -> _Rows:
    """All lines; those of one number of columns at once."""
    count = len(lines.text)
    columns = np.fromiter((len(line.split()) for line in lines.text), np.int64, count)
    longer = bool((columns > 7).any())
    rows = _Rows(
        np.full(count, -1, np.int64), np.zeros((count, 4)), np.full(count, np.nan), np.zeros(count, bool),
        np.zeros(count, bool),
    )  # fmt: skip

    for width in np.unique(columns).tolist():
        where = np.flatnonzero(columns == width)
        if width < 5:
            for row in where.tolist():
                got = f"got {width}: {lines.text[row].strip()[:60]!r}"
                problems.fail(
                    lines.place(row), f"5 columns or more are expected ({', '.join(COLUMNS)}), {got}"
                )
            continue
        values, where = _numbers(lines, where, problems)
        points = config.keypoint_columns
        pose = points > 0 and width - 5 - points in (0, 1, 2)
        tracked = width == 7 and not pose and _ends_in_ids(values[:, 6], longer)
        boxed = pose or width <= 6 or tracked
        extras = width - 5 - points * pose if boxed else (width - 1) % 2
        shape = values[:, 1:5] if boxed else values[:, 1 : width - extras]
        rows.good[where] = _check(values, shape, boxed, where, lines, problems)
        rows.class_id[where] = np.where(rows.good[where], values[:, 0], -1).astype(np.int64)
        with np.errstate(invalid="ignore", over="ignore"):  # of rows that are refused for what they hold
            rows.edges_xyxy[where] = _edges(shape, boxed)
        if extras:
            rows.extra[where] = values[:, -1]
            rows.confident[where] = extras == 2
        if pose or not boxed:
            shown = [lines.place(row) for row in where[:EXAMPLES].tolist()]
            problems.note(KEYPOINTS if pose else POLYGON, shown, len(where))
    return rows


def _numbers(lines: _Lines, where: np.ndarray, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of these lines, and which are left; usually in C, one by one to say what is wrong."""
    rows = where.tolist()
    try:
        return np.loadtxt([lines.text[row] for row in rows], ndmin=2, comments=None, dtype=np.float64), where
    except ValueError:
        pass
    values: list[list[float]] = []
    left: list[int] = []
    for row in rows:
        cells = lines.text[row].split()
        wrong = next((index for index, cell in enumerate(cells) if not _is_number(cell)), None)
        if wrong is None:
            values.append([float(cell) for cell in cells])
            left.append(row)
        else:
            name = COLUMNS[wrong] if wrong < len(COLUMNS) else f"column {wrong + 1}"
            problems.fail(lines.place(row), f"{name}: a number is expected, got {cells[wrong][:60]!r}")
    width = len(lines.text[rows[0]].split())
    return np.array(values, np.float64).reshape(-1, width), np.array(left, np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _ends_in_ids(last: np.ndarray, longer: bool) -> bool:
    """Whether seven columns are a box, a confidence and an id, not three points."""
    whole = bool((np.floor(last) == last).all())
    return whole and (bool((last > 1).any()) or not longer)


def _check(
    values: np.ndarray,
    shape: np.ndarray,
    boxed: bool,
    where: np.ndarray,
    lines: _Lines,
    problems: Problems,
) -> np.ndarray:
    """(M,) mask of the lines that can be used; the others fail."""
    classes = values[:, 0]
    whole = (np.floor(classes) == classes) & (classes >= 0) & (classes < _LARGEST_ID)
    finite = np.isfinite(values).all(axis=1)
    least = np.array([-TOLERANCE, -TOLERANCE, 0, 0]) if boxed else -TOLERANCE
    inside = (shape >= least) & (shape <= 1 + TOLERANCE)
    good = whole & finite & inside.all(axis=1)
    for index in np.flatnonzero(~good).tolist():
        if not whole[index]:
            fault = f"class: a whole number, 0 or more, is expected, got {classes[index]:g}"
        elif not finite[index]:
            fault = "a coordinate is not a finite number"
        else:
            wrong = int(np.argmin(inside[index]))
            name = COLUMNS[wrong + 1] if boxed else f"{'xy'[wrong % 2]} of point {wrong // 2 + 1}"
            fault = f"{name}: a fraction of the image, 0 to 1, is expected, got {shape[index, wrong]:g}"
        problems.fail(lines.place(int(where[index])), fault)
    return good


def _edges(shape: np.ndarray, boxed: bool) -> np.ndarray:
    """(M, 4) left, top, right, bottom as fractions; what rounding put beside the image's edge is on it."""
    if boxed:
        half = shape[:, 2:4] / 2
        edges = np.concatenate([shape[:, :2] - half, shape[:, :2] + half], axis=1)
    else:
        x, y = shape[:, 0::2], shape[:, 1::2]
        edges = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
    edges = np.where(np.abs(edges) < ROUNDING, 0.0, edges)
    return np.where(np.abs(edges - 1) < ROUNDING, 1.0, edges)


def _track_ids(
    rows: _Rows, lines: _Lines, owner: np.ndarray, frame: np.ndarray, problems: Problems
) -> tuple[np.ndarray, list[str]]:
    """(M,) ids, -1 for none, and what the sixth column was taken for; wrong lines lose their ``good``."""
    extra = rows.extra
    sixth = rows.good & ~np.isnan(extra) & ~rows.confident
    values = extra[sixth]
    as_ids = bool(len(values)) and bool((np.floor(values) == values).all())
    if as_ids and values.max() <= 1:
        keys = np.stack([owner[sixth], frame[sixth], values.astype(np.int64)], axis=1)
        as_ids = len(np.unique(keys, axis=0)) == len(keys)
    ids = rows.confident | (sixth & as_ids)
    wrong_id = rows.good & ids & ~((np.floor(extra) == extra) & (extra >= -1) & (extra < _LARGEST_ID))
    wrong_confidence = sixth & (not as_ids) & ~((extra >= 0) & (extra <= 1 + TOLERANCE))
    for row in np.flatnonzero(wrong_id).tolist():
        problems.fail(
            lines.place(row), f"track id: 0 or more, or -1 for none, is expected, got {extra[row]:g}"
        )
    for row in np.flatnonzero(wrong_confidence).tolist():
        problems.fail(
            lines.place(row),
            f"column 6: a confidence, 0 to 1, is expected as in other lines, got {extra[row]:g}",
        )
    rows.good[wrong_id | wrong_confidence] = False
    notes = [TRACKS if as_ids else CONFIDENCE] if len(values) else []
    return np.where(ids & rows.good, extra, -1).astype(np.int64), notes


def _sequence(item: YoloItem, columns: tuple[np.ndarray, ...], problems: Problems) -> RawSequence:
    """Pixels, and frames without a label file counted."""
    line, frame, track_id, class_id, edges_xyxy = columns
    size_wh = _shown_size(item, problems)
    first = next(iter(item.labels.values()), item.video)
    return RawSequence(
        name=item.name,
        video=item.video,
        images=item.images,
        labels_file=first.parent if item.labels and len(item.images or ()) != 1 else first,
        frame_files=item.labels,
        row_form="{file}:{row}",
        row=line,
        frame=frame,
        track_id=track_id,
        class_id=class_id,
        boxes_xyxy_px=edges_xyxy * np.array(size_wh * 2, np.float64),
        first_frame=item.first_frame,
        recording=item.recording,
        split=item.split,
    )


def _shown_size(item: YoloItem, problems: Problems) -> tuple[int, int]:
    """Displayed width and height, of which coordinates are fractions; (1, 1) where ingestion fails anyway."""
    try:
        if item.images is None:
            frames = count_packets(item.video).packets
            inside = sum(frame < frames for frame in item.labels)
            problems.note(NO_FILE, [str(item.video)] * (inside < frames), frames - inside)
            return read_info(item.video).size_wh
        lacking = [str(path) for frame, path in enumerate(item.images) if frame not in item.labels]
        problems.note(NO_FILE, lacking)
        stored = image_size(item.images[0], MAX_PIXELS)
        with Image.open(item.images[0]) as header:
            may_be_turned = "exif" in header.info or header.format == "TIFF"
        return read_info(item.images[0]).size_wh if may_be_turned else stored
    except (InputError, OSError):
        return (1, 1)
