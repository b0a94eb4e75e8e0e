"""How many frames must prime a part until its rows are those of the uncut video. Opt-in:

pytest tests/bench/test_corpus_warm_up.py -o addopts= -s
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import seqdet
from seqdet.boxes import iou
from seqdet.runs.corpus_cut import detect_part, plan_parts, read_part
from seqdet.runs.corpus_values import Part

VIDEOS = sorted((Path(__file__).resolve().parents[2] / "sample_videos").glob("*.mp4"))
SCORE_TOLERANCE, IOU_TOLERANCE = 0.05, 0.9


def rows_of(model, path: Path, part: Part, folder: Path) -> dict[int, list[dict]]:
    out = folder / "rows.jsonl"
    detect_part(model, read_part(path, part, folder), part, path.name, out, lambda frames: None)
    found: dict[int, list[dict]] = {}
    for line in out.read_text().splitlines()[:-1]:
        row = json.loads(line)
        found.setdefault(row["frame"], []).append(row)
    return found


def agreed(ours: list[dict], theirs: list[dict]) -> tuple[int, int]:
    """Rows that agree in box, label and score; and all rows, those that agree counted once."""
    left = list(theirs)
    same = 0
    for row in ours:
        for other in left:
            boxes = np.array([row["box_xyxy_px"]]), np.array([other["box_xyxy_px"]])
            close = abs(row["score"] - other["score"]) <= SCORE_TOLERANCE and row["label"] == other["label"]
            if close and iou(*boxes)[0, 0] >= IOU_TOLERANCE:
                left.remove(other)
                same += 1
                break
    return same, len(ours) + len(theirs) - same


@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: path.name)
def test_rows_by_frames_of_warm_up(path, tmp_path):
    model = seqdet.load("airspace", device="cpu")
    parts = plan_parts(path, 5.0, 0, tmp_path)
    first, last = parts[1].first, min(parts[1].last, parts[1].first + 120)
    uncut = rows_of(model, path, Part(0, 0, last), tmp_path)
    shares = []
    for warm in (0, 8, 16, 32, 64, 128):
        part = Part(max(0, first - warm), first, last)
        rows = rows_of(model, path, part, tmp_path)
        counts = [agreed(rows.get(frame, []), uncut.get(frame, [])) for frame in range(first, last)]
        same, union = np.array(counts).T
        early = same[:16].sum() / max(union[:16].sum(), 1)
        shares.append(same.sum() / union.sum())
        print(
            f"{path.name}: {warm:3d} frames: {shares[-1]:.3f} of the rows agree, {early:.3f} in the first 16",
            flush=True,
        )
    assert shares[-1] >= shares[0]
