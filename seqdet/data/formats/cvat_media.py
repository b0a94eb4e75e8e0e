"""Where the frames of a CVAT task are: exported images (``images/frame_000010.png``), or its video.

Looked for beside the XML file, in ``images``, and in folders of the task's source, name or subset in either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, path_under
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, natural_key
from seqdet.video.probe import count_packets

IN_ORDER = "images of other names than frame_000000 are taken in the order of their names"
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Task:
    """A task or job: which frames of which video were labelled.

    Attributes:
        task_id, name, subset, source: as written, or "".
        start, stop: first and last labelled frame of the video, counted from 0; ``stop`` None where not said.
        step: every so many frames were labelled.
        size_wh: of the video in pixels, or None.
    """

    task_id: str = ""
    name: str = ""
    subset: str = ""
    source: str = ""
    start: int = 0
    stop: int | None = None
    step: int = 1
    size_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """The frames that a task has.

    Attributes:
        video: a file, or the folder of ``images``.
        images: in time order, or None.
        numbers: (N,) ascending; number of each frame as the labels count.
    """

    video: Path
    images: tuple[Path, ...] | None
    numbers: np.ndarray


@dataclass(slots=True)
class Place:
    """Where to look, and what was found there for other tasks already.

    Attributes:
        root: the source folder, which is never left.
        alone: only one task is here, so that it may have whatever is here.
        taken: folders of images that are a task's frames.
        notes: receives what the user should know.
    """

    root: Path
    alone: bool
    taken: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_tasks(path: Path, meta: Element | None, problems: Problems) -> list[Task]:
    """The tasks of a file, or one without any detail."""
    if meta is None:
        return [Task()]
    project = meta.find("project")
    single = [element for key in ("task", "job") for element in meta.findall(key)][:1]
    elements = single or ([] if project is None else project.findall("tasks/task"))
    return [_read_task(path, element, meta, problems) for element in elements] or [Task()]


def _read_task(path: Path, element: Element, meta: Element, problems: Problems) -> Task:
    name = (element.findtext("name") or "").strip()
    place = f"{path}: {element.tag} {name!r}"

    def number(key: str) -> int | None:
        text = (element.findtext(key) or "").strip()
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", text):
            problems.fail(place, f"{key}: a whole number, 0 or more, is expected, got {text[:40]!r}")
            return None
        return int(text)

    step_text = (element.findtext("frame_filter") or "").strip()
    step_match = re.fullmatch(r"step\s*=\s*([0-9]{1,9})", step_text)
    step = int(step_match[1]) if step_match else 1
    if (step_text and not step_match) or step == 0:
        problems.fail(place, f"frame_filter: step=K is expected, got {step_text[:40]!r}")
        step = 1
    start, stop, size = number("start_frame") or 0, number("stop_frame"), number("size")
    if stop is None and size:
        stop = start + (size - 1) * step
    if stop is not None and stop < start:
        problems.fail(place, f"stop_frame: {stop} is before start_frame, which is {start}")
        stop = None
    width, height = number("original_size/width"), number("original_size/height")
    source = (element.findtext("source") or meta.findtext("source") or "").strip()
    return Task(
        task_id=(element.findtext("id") or "").strip(),
        name=name,
        subset=(element.findtext("subset") or "").strip(),
        source=source,
        start=start,
        stop=stop,
        step=step,
        size_wh=(width, height) if width and height else None,
    )


def find_media(task: Task, last: int, place: Place) -> Media:
    """The frames of a task that CVAT holds as a video.

    Args:
        task: what is looked for.
        last: the last frame that has a label, -1 for none.
        place: where.

    Raises:
        InputError: nothing was found, with all that was looked for; or it is not clear what is meant.
    """
    if task.source and path_under(place.root, task.source) is None:
        raise InputError(f"source: {task.source[:120]!r} leads out of the source folder")
    folders = _folders(task, place.root)
    for folder in folders:
        images = _numbered_images(folder, task, last, place)
        if images is None:
            continue
        if folder in place.taken:
            raise InputError(
                f"{folder} holds the frames of {place.taken[folder]!r} already; put those of {task.name!r} "
                "into a folder of its name"
            )
        place.taken[folder] = task.name
        numbers = np.array(sorted(images), np.int64)
        return Media(folder, tuple(images[number] for number in numbers.tolist()), numbers)
    video = _find_video(task, folders, place)
    if video is not None:
        counted = count_packets(video)
        return Media(video, None, np.arange(counted.packets))
    listed = ", ".join(str(folder) for folder in folders)
    wanted = f"the video {task.source!r}" if task.source else "a video of the task's name"
    raise InputError(f"neither images frame_{task.start:06d}.png ... nor {wanted} are in {listed}")


def _folders(task: Task, root: Path) -> list[Path]:
    """Existing folders, the most special first."""
    names = [Path(task.source).stem, task.name, task.subset]
    inner = [f"{base}{name}" for base in ("images/", "") for name in names if name]
    wanted = [*inner, "images", "videos", "data", "."]
    found = (path_under(root, name) for name in wanted)
    return list(dict.fromkeys(path for path in found if path is not None and path.is_dir()))


def _numbered_images(folder: Path, task: Task, last: int, place: Place) -> dict[int, Path] | None:
    """The images of a folder by frame number, or None when they are not the frames of this task."""
    listed = [
        path
        for path in folder.iterdir()
        if is_image_name(path) and not path.name.startswith(".") and path_under(place.root, path.name, folder)
    ]
    named = {}
    for path in sorted(listed):
        match = re.fullmatch(r"frame_([0-9]{1,15})", path.stem)
        if match and int(match[1]) in named:
            raise InputError(f"{folder}: two images have the frame number {int(match[1])}")
        if match:
            named[int(match[1])] = path
    end = last if task.stop is None else max(last, task.stop)
    if any(task.start <= number and (number <= end or end < 0) for number in named):
        return named
    expected = 0 if task.stop is None else (task.stop - task.start) // task.step + 1
    if named or not listed or len(listed) != expected or not place.alone:
        return None
    ordered = sorted(listed, key=natural_key)
    if ordered != sorted(listed):
        raise InputError(f"{folder}: the order of the images is not clear; call them frame_000000.png, ...")
    place.notes.append(IN_ORDER)
    return {task.start + index * task.step: path for index, path in enumerate(ordered)}


def _find_video(task: Task, folders: list[Path], place: Place) -> Path | None:
    """The video of the source's or the task's name, or the only one that is there."""
    stems = [text for text in (Path(task.source).stem, task.name) if text]
    for name in [
        task.source,
        task.name,
        *(f"{s}{suffix}" for s in stems for suffix in sorted(VIDEO_SUFFIXES)),
    ]:
        for folder in folders:
            path = path_under(place.root, name, folder) if name else None
            if path and path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
                return path
    if not place.alone:
        return None
    found = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if len(found) != 1 or path_under(place.root, found[0].name, found[0].parent) is None:
        return None
    if task.source and task.source != found[0].name:
        place.notes.append(f"{found[0].name}, the only video here, is taken for {task.source!r}")
    return found[0]


def file_name(text: str) -> str:
    """The text fit to be a file name: what some system forbids becomes an underscore."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", text).strip(" .") or "sequence"
