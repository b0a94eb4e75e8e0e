"""What the tests of CVAT share: XML as CVAT writes it, and what was read of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqdet.data.formats import coco_vid, cvat, mot
from seqdet.data.formats.protocol import Problems, RawDataset, RawSequence

LABELS = "<labels><label><name>bird</name></label><label><name>drone</name></label></labels>"


def entry(frame: int, box: tuple[float, ...] = (1, 2, 11, 12), rest: str = "", outside: int = 0) -> str:
    left, top, right, bottom = box
    marks = rest or 'keyframe="1"'
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="0" {marks} '
        f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="0"></box>\n'
    )


def track(number: int, *entries: str, label: str = "bird", rest: str = "") -> str:
    return f'<track id="{number}" label="{label}" {rest}>\n{"".join(entries)}</track>\n'


def document(*elements: str, task: str = "", labels: str = LABELS, source: str = "clip.avi") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n<meta>\n'
        f"<task><id>5</id><name>first</name>{task}{labels}</task>\n<source>{source}</source>\n</meta>\n"
        f"{''.join(elements)}</annotations>\n"
    )


def write(folder: Path, text: str, name: str = "annotations.xml") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert cvat.sniff(source)
    assert not mot.sniff(source)
    assert not coco_vid.sniff(source)
    raw = cvat.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def rows(sequence: RawSequence) -> list[tuple[float, ...]]:
    """(frame, track, class, left, top, right, bottom), sorted."""
    columns = (sequence.frame, sequence.track_id, sequence.class_id, sequence.boxes_xyxy_px.round(6))
    return sorted(tuple(row) for row in np.column_stack(columns).tolist())


def counted(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


def image(name: str, *boxes: str, rest: str = 'width="64" height="48"') -> str:
    return f'<image name="{name}" {rest}>\n{"".join(boxes)}</image>\n'


def shape(box: tuple[float, ...] = (1, 2, 11, 12), label: str = "bird") -> str:
    left, top, right, bottom = box
    return f'<box label="{label}" occluded="0" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"></box>\n'
