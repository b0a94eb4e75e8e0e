"""Where the images and videos of a Datumaro file are."""

from __future__ import annotations

from pathlib import Path

from seqdet.data.checks import is_inside
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems
from seqdet.video.folder import IMAGE_SUFFIXES


class MediaFinder:
    """Finds the media of one subset: in ``images/SUBSET``, ``images``, ``SUBSET`` and the source folder.

    Videos are looked for in ``videos/SUBSET`` and ``videos`` first.

    Args:
        root: the source folder, which is never left.
        subset: its name.
        problems: receives what is wrong.

    Attributes:
        lacking: place and name of all that was not there.
    """

    def __init__(self, root: Path, subset: str, problems: Problems) -> None:
        self.problems = problems
        self.lacking: list[tuple[str, str]] = []
        self._root = root
        images = [root / "images" / subset, root / "images", root / subset, root]
        videos = [root / "videos" / subset, root / "videos", *images]
        self._bases = {
            False: [folder for folder in images if folder.is_dir()],
            True: [folder for folder in videos if folder.is_dir()],
        }
        self._inside: dict[Path, bool] = {}

    def find(self, said: object, identity: object, is_video: bool, place: str) -> Path | None:
        """The file of an item; None when it is not there (see ``lacking``) or may not be used.

        Args:
            said: its path as the item has it; where there is none, the item's id names it.
            identity: id of the item.
            is_video: what to look for.
            place: of the item, for messages.
        """
        if isinstance(said, str) and said:
            names = [said]
        elif said in (None, "") and isinstance(identity, str) and identity:
            names = [identity + suffix for suffix in sorted(VIDEO_SUFFIXES if is_video else IMAGE_SUFFIXES)]
        else:
            self.problems.fail(place, f"path: a text is expected, got {str(said)[:40]!r}")
            return None
        bases = self._bases[is_video]
        for name in names:
            if not is_inside(name):
                self.problems.fail(place, f"path: {name[:120]!r} leads out of the source folder")
                return None
            for position, base in enumerate(bases):
                path = base / name.replace("\\", "/")
                if _is_file(path):
                    bases.insert(0, bases.pop(position))  # most of the others are in the same place
                    if self._is_inside(path):
                        return path
                    self.problems.fail(place, f"path: {name[:120]!r} is a link out of {self._root}")
                    return None
        self.lacking.append((place, said if isinstance(said, str) and said else str(identity)))
        return None

    def only_video(self) -> Path | None:
        """The video of the source, when there is exactly one."""
        found = {
            path.resolve(): path
            for folder in self._bases[True]
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and self._is_inside(path)
        }
        return next(iter(found.values())) if len(found) == 1 else None

    def _is_inside(self, path: Path) -> bool:
        if path.is_symlink():
            return path.resolve().is_relative_to(self._root.resolve())
        folder = path.parent
        if folder not in self._inside:
            self._inside[folder] = folder.resolve().is_relative_to(self._root.resolve())
        return self._inside[folder]


def sequence_name(path: Path, root: Path) -> str:
    """The path below ``root`` as one name, without suffix and the folders ``images`` and ``videos``."""
    parts = path.relative_to(root).parts
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return "_".join((*(part for part in parts[:-1] if part.lower() not in ("images", "videos")), stem))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
