"""Which file a Label Studio task means: its URL is of the server that the labels were made on.

``/data/upload/1/0a1b2c3d-clip.mp4``, ``/data/local-files/?d=day/clip.mp4`` and ``s3://bucket/day/clip.mp4``
all name a file that is looked for beside the export and in the folders beside it, also without the eight
hexadecimal digits that Label Studio puts before the names of uploaded files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, path_under
from seqdet.video.folder import is_image_name

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_SHOWN = 5
_FOLDERS = ("videos", "video", "media", "data", "upload")


class MediaFinder:
    """The videos and images in a folder and in the folders in it, by name.

    Args:
        root: the folder; nothing outside it is found, also not by a symbolic link.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        for folder in (root, *folders):
            for path in sorted(folder.iterdir()):
                if _is_media(path.name) and path.is_file():
                    self._by_name[_plain(path.name)].append(path)

    def find(self, data: dict[str, Any], file_upload: object, place: str, problems: Problems) -> Path | None:
        """The video or image of a task; None, with the reason in ``problems``, when there is none.

        Args:
            data: what the task holds; "video" and "image" first, then any text that looks like a media file.
            file_upload: the name of the uploaded file, where the export has it.
            place: of the task, for messages.
            problems: receives what is wrong.
        """
        values = [data.get("video"), data.get("image")]
        values += [value for value in data.values() if isinstance(value, str) and _is_media(value)]
        values.append(file_upload if isinstance(file_upload, str) and _is_media(file_upload) else None)
        looked_for: list[str] = []
        for value in values:
            parts = _parts(value) if isinstance(value, str) else []
            if ".." in parts or any("\0" in part for part in parts):
                problems.fail(place, f"data: {str(value)[:120]!r} leads out of the source folder")
                return None
            for name in _names(parts):
                if name in looked_for:
                    continue
                looked_for.append(name)
                found = self._choose([*parts[:-1], name], place, problems)
                if found is not None:
                    return found if found.name else None
        if looked_for:
            names = ", ".join(looked_for[:_SHOWN])
            problems.fail(place, f"data: there is no {names} in {self.root} or a folder in it")
        else:
            problems.fail(place, 'data: the URL of a "video" or an "image" is expected')
        return None

    def _choose(self, parts: list[str], place: str, problems: Problems) -> Path | None:
        """The file whose path ends most like these parts; a path without a name after a failure."""
        below = [path_under(self.root, "/".join(parts[start:])) for start in range(len(parts) - 2)]
        paths = [path for path in below if path is not None and path.is_file() and _is_media(path.name)]
        paths = paths[:1] or self._by_name.get(_plain(parts[-1]), [])
        if not paths:
            return None
        alike = [_common_ending(path.relative_to(self.root).parts, parts) for path in paths]
        best = [path for path, count in zip(paths, alike, strict=True) if count == max(alike)]
        if len(best) > 1:
            names = ", ".join(str(path.relative_to(self.root)) for path in best[:_SHOWN])
            problems.fail(place, f"data: {'/'.join(parts)[:120]!r} may be any of {names}")
            return Path()
        if path_under(self.root, best[0].relative_to(self.root).as_posix()) is None:
            problems.fail(place, f"data: {best[0].name!r} is a link out of {self.root}")
            return Path()
        return best[0]


def sequence_name(path: Path, root: Path) -> str:
    """The path of a video below ``root`` as one name, without suffix and without folders like ``videos``."""
    parts = path.relative_to(root).with_suffix("").parts
    return "_".join((*(part for part in parts[:-1] if part.lower() not in _FOLDERS), parts[-1]))


def _is_media(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES or is_image_name(name)


def _plain(name: str) -> str:
    """Accents are written in two ways; some systems change one into the other."""
    return unicodedata.normalize("NFC", name)


def _parts(url: str) -> list[str]:
    """Folders and name in a URL or path."""
    try:
        split = urlsplit(url)
        served = parse_qs(split.query).get("d", [])
        path = served[0] if served else unquote(split.path if split.scheme or split.query else url)
    except ValueError:  # brackets that look like an IPv6 address
        path = url
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _names(parts: list[str]) -> list[str]:
    """The name of the file, and the name that it had before it was uploaded."""
    return list(dict.fromkeys([parts[-1], _UPLOADED.sub("", parts[-1], count=1)])) if parts else []


def _common_ending(path: tuple[str, ...], parts: list[str]) -> int:
    count = 0
    for mine, said in zip(reversed(path), reversed(parts), strict=False):
        if _plain(mine) != _plain(said):
            break
        count += 1
    return count
