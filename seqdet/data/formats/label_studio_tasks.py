"""The tasks of a Label Studio export: which annotation is used, and what its results are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from seqdet.data.checks import read_json
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems
from seqdet.errors import InputError

NO_LABEL = "region without a label: left out"
MORE_LABELS = "region with several labels: the first is taken"
UNLABELLED = "task without a finished annotation: left out"
MORE_ANNOTATIONS = "further annotation of a task: the first that is not cancelled is used"
TRACK, BOXES, POLYGONS = "videorectangle", ("rectanglelabels", "rectangle"), ("polygonlabels", "polygon")
# In JSON-MIN a choice is a text like any other; these are the names that Label Studio's templates give it.
_MIN_CHOICES = ("choice", "choices", "class", "category")


class Region(NamedTuple):
    """One result that is an object: ``position`` among the results of its task."""

    position: int
    kind: str
    label: str
    value: dict[str, Any]
    result: dict[str, Any]


@dataclass(slots=True)
class Task:
    """One task and the annotation of it that is used; ``row_form`` and ``place`` are for messages."""

    labels_file: Path
    index: int
    data: dict[str, Any]
    results: list[dict[str, Any]]
    row_form: str
    file_upload: object = None
    media: Path = Path()
    regions: list[Region] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.labels_file}: [{self.index}]"

    @property
    def is_video(self) -> bool:
        """True when its media file is a video."""
        return self.media.suffix.lower() in VIDEO_SUFFIXES

    def result_place(self, index: int) -> str:
        """For messages."""
        return self.row_form.format(file=self.labels_file, row=index)


def read_tasks(path: Path, problems: Problems) -> Iterator[Task]:
    """Tasks of one file that have a finished annotation.

    Raises:
        InputError: the file is not JSON, or no list.
    """
    document = read_json(path)
    if not isinstance(document, list):
        raise InputError(f"{path}: a list of tasks is expected")
    for index, entry in enumerate(document):
        place = f"{path}: [{index}]"
        if not isinstance(entry, dict):
            problems.fail(place, "a task (an object) is expected")
        elif "annotation_id" in entry and "annotations" not in entry and "data" not in entry:
            results = list(_results_of_min(entry))
            yield Task(path, index, entry, results, f"{{file}}: [{index}]")
        else:
            found = _choose_annotation(entry, place, problems)
            if found:
                number, results = found
                key = "annotations" if "annotations" in entry else "completions"
                form = f"{{file}}: [{index}].{key}[{number}].result[{{row}}]"
                yield Task(path, index, entry["data"], results, form, entry.get("file_upload"))


def _choose_annotation(
    entry: dict[str, Any], place: str, problems: Problems
) -> tuple[int, list[dict[str, Any]]] | None:
    """Number and results of the first annotation that is not cancelled."""
    annotations = entry.get("annotations", entry.get("completions"))
    if not isinstance(entry.get("data"), dict):
        problems.fail(place, "data: an object is expected")
        return None
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        problems.fail(place, "annotations: a list of objects is expected")
        return None
    used = [number for number, each in enumerate(annotations) if not each.get("was_cancelled")]
    if not used:
        problems.note(UNLABELLED, [place])
        return None
    if len(used) > 1:
        problems.note(MORE_ANNOTATIONS, [f"{place}.annotations[{number}]" for number in used[1:]])
    results = annotations[used[0]].get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        problems.fail(f"{place}.annotations[{used[0]}]", "result: a list of objects is expected")
        return None
    return used[0], results


def _results_of_min(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A JSON-MIN task holds the values of its results under the names of their tags."""
    for name, value in entry.items():
        if isinstance(value, str) and name in _MIN_CHOICES:
            value = {"choices": [value]}
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                continue
            kinds = (
                ("sequence", TRACK),
                ("points", POLYGONS[0]),
                ("width", BOXES[0]),
                ("choices", "choices"),
            )
            kind = next((kind for key, kind in kinds if key in each), name)
            yield {**each, "from_name": name, "type": kind, "value": each}


def read_results(task: Task, problems: Problems) -> None:
    """Sort the results of a task into objects and choices; what else there is is counted."""
    labels: dict[object, list[str]] = {}
    objects: list[tuple[int, str, dict[str, Any]]] = []
    others: list[tuple[int, str, dict[str, Any]]] = []
    kinds = (TRACK,) if task.is_video else (*BOXES, *POLYGONS)
    for index, result in enumerate(task.results):
        kind, value = result.get("type"), result.get("value")
        if not isinstance(kind, str) or (not isinstance(value, dict) and kind != "relation"):
            problems.fail(task.result_place(index), "a type and a value are expected")
            continue
        names = _labels_of(value) if isinstance(value, dict) else []
        if names:
            labels.setdefault(_identity(result, index), names)
        (objects if kind in kinds else others).append((index, kind, result))
    for index, kind, result in objects:
        names = labels.get(_identity(result, index), [])
        region = Region(index, kind, names[0] if names else "", result["value"], result)
        if not names:
            problems.drop(NO_LABEL, [task.result_place(index)])
            continue
        if len(names) > 1:
            problems.drop(MORE_LABELS, [task.result_place(index)])
        task.regions.append(region)
    identities = {_identity(result, index) for index, _, result in objects}
    for index, kind, result in others:
        chosen = result["value"].get("choices") if kind == "choices" else None
        part = _identity(result, index) in identities  # a choice or label that belongs to an object
        if isinstance(chosen, list) and all(isinstance(each, str) for each in chosen) and not part:
            question = str(result.get("from_name", "choices"))
            task.choices.setdefault(question, []).extend(each.strip() for each in chosen if each.strip())
        elif not part:
            problems.note(f"result of type {kind[:40]}: left out", [task.result_place(index)])


def _identity(result: dict[str, Any], index: int) -> object:
    """What the results of one object share: its id, or nothing where there is none."""
    identity = result.get("id")
    return identity if isinstance(identity, str) and identity else index


def _labels_of(value: dict[str, Any]) -> list[str]:
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list) and names:
            return [name.strip() for name in names if isinstance(name, str) and name.strip()]
    return []
