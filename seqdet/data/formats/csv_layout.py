"""Where CSV labels are, what their columns mean, and where the videos or images are that their rows name."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from seqdet.data.checks import is_inside
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, path_under
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name

SUFFIXES = (".csv", ".tsv")
FROM_ONE = "frame_from_1"
# The first that a file has is taken. Case, blanks, "-" for "_" and "_px" at the end make no difference.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "video": ("video", "video_name", "clip", "source", "sequence", "file", "filename", "file_name"),
    "frame": ("frame", "frame_id", "frame_index", FROM_ONE),
    "image": (
        "image", "image_name", "image_path", "filename", "file_name", "file", "path", "source", "video",
    ),
    "track_id": ("track_id", "track", "object_id", "instance_id", "id"),
    "class": ("class", "class_name", "label", "label_name", "category", "category_name", "name"),
    "left": ("left", "x1", "xmin", "x_min", "bb_left", "bbox_left", "x"),
    "top": ("top", "y1", "ymin", "y_min", "bb_top", "bbox_top", "y"),
    "right": ("right", "x2", "xmax", "x_max"),
    "bottom": ("bottom", "y2", "ymax", "y_max"),
    "width": ("width", "w", "bb_width", "bbox_width", "box_width"),
    "height": ("height", "h", "bb_height", "bbox_height", "box_height"),
}  # fmt: skip
_DELIMITERS = ",;\t|"
_LONGEST_HEADER = 1 << 16
_CORNERS, _SIZE = ("left", "top", "right", "bottom"), ("left", "top", "width", "height")


class Header(NamedTuple):
    """What the columns of a file mean.

    Attributes:
        delimiter: between cells.
        names: the columns as the file calls them.
        roles: index of the column that is "frame", "class", "left", ... (keys of SYNONYMS).
    """

    delimiter: str
    names: tuple[str, ...]
    roles: dict[str, int]

    @property
    def box(self) -> tuple[str, ...]:
        """Roles of the four box columns, edges before width and height; () where there are no four."""
        return next((box for box in (_CORNERS, _SIZE) if self.roles.keys() >= set(box)), ())

    @property
    def of_images(self) -> bool:
        """True when rows name an image, not a frame of a video."""
        return "frame" not in self.roles

    @property
    def source(self) -> int | None:
        """Index of the column that names the video or image; None where the file is of one video."""
        return self.roles.get("image" if self.of_images else "video")

    @property
    def first_frame(self) -> int:
        """The number of the first frame."""
        frame = self.roles.get("frame")
        return int(frame is not None and _plain(self.names[frame]) == FROM_ONE)

    @property
    def unused(self) -> list[str]:
        """Columns that say nothing to seqdet."""
        roles = ["class", "track_id", *self.box, *([] if self.of_images else ["frame"])]
        used = {self.source, *(self.roles.get(role) for role in roles)}
        return [name for index, name in enumerate(self.names) if index not in used]


def read_header(path: Path) -> Header:
    """The first line of a file.

    Raises:
        InputError: the file cannot be read, or names a column twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(_LONGEST_HEADER)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    if not line.strip():
        raise InputError(f"{path}:1: the first line is to name the columns, but it is empty; {_needed()}")
    found = [_parse_header(path, line, delimiter) for delimiter in _DELIMITERS]
    return max(found, key=lambda header: (len(header.roles), len(header.names)))


def _parse_header(path: Path, line: str, delimiter: str) -> Header:
    try:
        names = tuple(name.strip() for name in next(csv.reader([line], delimiter=delimiter)))
    except csv.Error as error:
        raise InputError(f"{path}:1: not a line of CSV: {error}") from error
    places: dict[str, int] = {}
    for index, name in enumerate(map(_plain, names)):
        if name and name in places:
            raise InputError(f"{path}:1: two columns are called {names[index]!r}")
        places[name] = index
    roles = {
        role: places[found]
        for role, synonyms in SYNONYMS.items()
        if (found := next((name for name in synonyms if name in places), None)) is not None
    }
    return Header(delimiter, names, roles)


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_").removesuffix("_px")


def require_columns(path: Path, header: Header) -> None:
    """Raise InputError when columns are missing: what was found, and what is needed."""
    missing = [] if header.box else ["the box"]
    missing += ["class"] * ("class" not in header.roles)
    missing += ["frame (or image)"] * ("frame" not in header.roles and "image" not in header.roles)
    if missing:
        raise InputError(
            f"{path}:1: no column for {', '.join(missing)}. "
            f"Found: {', '.join(map(repr, header.names))[:300]}. {_needed()}"
        )


def _needed() -> str:
    return (
        "Needed, in any order: frame, class, and left, top, right, bottom (or left, top, width, height); "
        "video where one file has the rows of several; track_id where it is known. For images without frame "
        f"numbers: image in place of frame. Other names: {'; '.join(_others())}"
    )


def _others() -> list[str]:
    return [f"{synonyms[0]}: {', '.join(synonyms[1:4])}" for synonyms in SYNONYMS.values()]


def label_files(source: Path) -> list[Path]:
    """The label files of a source: itself, or those of a folder that have columns for boxes."""
    if source.is_file():
        return [source] if source.suffix.lower() in SUFFIXES else []
    return [path for path in table_files(source) if _has_boxes(path)]


def table_files(folder: Path) -> list[Path]:
    """All files called .csv or .tsv in the places where labels may be."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    names = {"labels", "annotations", *SPLIT_WORDS}
    return [
        path
        for place in [folder, *(path for path in inner if path.name.lower() in names)]
        for path in sorted(place.iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]


def _has_boxes(path: Path) -> bool:
    try:
        return bool(read_header(path).box)
    except InputError:
        return False


def is_video(path: Path) -> bool:
    """True for a video file or a folder of images."""
    if path.is_dir():
        return any(map(is_image_name, path.iterdir()))
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def is_image(path: Path) -> bool:
    """True for an image file."""
    return is_image_name(path) and path.is_file()


class Media:
    """Finds the videos or images that the rows of a label file name.

    Args:
        root: the folder that is never left.
        labels: the label file; what it names is looked for beside it first.
        images: whether rows name images or videos.
    """

    def __init__(self, root: Path, labels: Path, images: bool) -> None:
        self._root = root
        self._accepts = is_image if images else is_video
        self._kind = (
            "image (rows without a column frame name images)" if images else "video (or folder of images)"
        )
        places = [labels.parent, *_folders(labels.parent), root, *_folders(root)]
        self._places = list(dict.fromkeys(places))
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, text: str) -> tuple[Path | None, str]:
        """The file or folder that a row names, or None and why there is none."""
        path = Path(text)
        if path.is_absolute() and path.is_relative_to(self._root.absolute()):
            text = path.relative_to(self._root.absolute()).as_posix()
        if not is_inside(text):
            return None, f"{text[:120]!r} leads out of {self._root}; a path inside is expected"
        relative = text.replace("\\", "/")
        name = relative.rstrip("/").rsplit("/", 1)[-1]
        places = (place / relative for place in self._places)
        found = next((place for place in places if self._accepts(place)), None)
        several = [found] if found else self.all().get(name, [])
        if len(several) > 1:
            return None, f"{text[:120]!r} may be {several[0]} or {several[1]}"
        if not several:
            return None, f"there is no {self._kind} {text[:120]!r} under {self._root}"
        inside = path_under(self._root, several[0].relative_to(self._root).as_posix())
        return inside, f"{text[:120]!r} is a link out of {self._root}"

    def all(self) -> dict[str, list[Path]]:
        """All videos or images in the places where they may be, by name with and without suffix."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in (path for place in self._places for path in sorted(place.iterdir())):
                if not path.name.startswith(".") and self._accepts(path):
                    for name in {path.name, path.stem if path.is_file() else path.name}:
                        self._by_name[name].append(path)
        return self._by_name


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
