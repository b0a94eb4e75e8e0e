"""Are explanations worth anything? The sanity tests of the literature, on the val clips of a data set.

1. Weights: with weights shuffled inside every tensor, part by part from the heads down, the map of a box
   must become another one (Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018). Rank correlation
   with the true map; near 0 is what it should be.
2. Frames: not showing the memory the frames of greatest attribution must cost more than others. The drop of
   the score at the box against that of random frames, of the newest frames, and of the frames that plain
   gradient x input names; with --cuts also with the frames cut out of the video itself, encoder and all.

Intervals are 95 % of bootstraps over recordings.

    python tools/explain_sanity.py datasets/airspace --clips 40
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from seqdet.data.dataset import load_dataset
from seqdet.model.detector import Detector
from seqdet.model.explain_boxes import Question, answers, map_chain
from seqdet.model.explain_memory import attribute, each_left_out, scores_without, whole
from seqdet.results.metrics.bootstrap import draw_weights, percentile_interval
from seqdet.runs.explain import open_model
from seqdet.runs.explain_box import ask, explain_picture, network_input, rank_correlation
from seqdet.runs.explain_stream import Moment, detector_state_before, moments
from seqdet.runs.explain_survey import found_in
from seqdet.runs.measure import evenly
from seqdet.runs.stream import Model
from seqdet.video.reader import open_video

PARTS = ("heads", "memory", "neck", "encoder")
RANDOM_DRAWS = 8
RANDOM_CUTS = 2


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="airspace")
    parser.add_argument("--split", default="val")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--removed", type=int, default=4, help="frames that are left out")
    parser.add_argument("--at", type=int, default=20, help="the best box of the first frame from this one on")
    parser.add_argument("--why", choices=("object", "class"), default="object")
    parser.add_argument("--maps", type=int, default=12, help="clips whose maps are also randomised")
    parser.add_argument("--cuts", action="store_true", help="also cut the frames out of the video")
    parser.add_argument("--part", default="0/1", help="I/N: only every N-th clip; beside other processes")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--join", type=Path, nargs="*", help="figures of all clips in what parts have written"
    )
    options = parser.parse_args()
    if options.join:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in options.join]
        show(summary([r for p in parts for r in p["rows"]], [r for p in parts for r in p["of_recordings"]]))
        return
    model = open_model(options.model, 0.2)
    dataset = load_dataset(options.data)
    rows, recordings = [], []
    part, parts_in_all = (int(number) for number in options.part.split("/"))
    chosen = list(enumerate(evenly(dataset.split(options.split), options.clips)))
    for number, sequence in chosen[part::parts_in_all]:
        rng = np.random.default_rng(number)
        window = first_box(model, sequence.video, options.at, options.window)
        if window is None:
            continue
        surest = max(found_in(window[-1], model.classes), key=lambda one: one.score)
        question = ask(window[-1], surest, options.why)
        row = of_frames(model, window, question, options.removed, rng)
        if options.cuts:
            row |= of_cuts(model, window, question, options.removed, row.pop("orders"), rng)
        row.pop("orders", None)
        if len(rows) < options.maps:
            row |= of_weights(model, window[-1], question)
        rows.append(row)
        recordings.append(sequence.recording or sequence.name)
        print(len(rows), sequence.name, {k: round(v, 3) for k, v in row.items() if v is not None}, flush=True)
        if options.out is not None:  # after each, so that a run that is cut short has figures too
            figures = {"rows": rows, "of_recordings": recordings, **summary(rows, recordings)}
            options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    show(summary(rows, recordings))


def show(figures: dict[str, Any]) -> None:
    """Print figures, one a line."""
    for name, value in figures.items():
        print(f"{name:34}", value)


def first_box(model: Model, video: Path, at: int, length: int) -> list[Moment] | None:
    """The window that ends with the first frame from ``at`` on in which something was found."""
    ring: deque[Moment] = deque(maxlen=length)
    with open_video(video) as reader:
        for moment in moments(model, islice(reader, at + 30)):
            ring.append(moment)
            if moment.frame.index >= at and len(moment.result.detections):
                return list(ring)
    return None


def of_frames(
    model: Model, window: list[Moment], question: Question, removed: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Drops of the score when the memory is not shown some frames, and rank correlations."""
    level, count = question.cell.level, len(window)
    chain = map_chain(model.detector, question)
    inputs = [moment.pyramid[level].clone() for moment in window]
    state = detector_state_before(window[0], model).maps[level]
    said = attribute(chain, inputs, state)
    of_update, of_input = whole(said.of_update), whole(said.of_input)[:-1]
    drops = said.score - scores_without(chain, inputs, state, each_left_out(count))
    orders = {
        "presence": np.argsort(-of_update)[:removed],
        "input": np.argsort(-of_input)[:removed],
        "newest": np.arange(count - 1)[::-1][:removed],
        "least": np.argsort(of_update)[:removed],
    }
    draws = [rng.permutation(count - 1)[:removed] for _ in range(RANDOM_DRAWS)]
    shown = np.ones((len(orders) + len(draws), count), bool)
    for row, left_out in zip(shown, [*orders.values(), *draws], strict=True):
        row[left_out] = False
    cost = said.score - scores_without(chain, inputs, state, shown)
    result: dict[str, Any] = {f"drop_{name}": cost[n] for n, name in enumerate(orders)}
    result["drop_random"] = float(cost[len(orders) :].mean())
    result["rank_presence"] = rank_correlation(of_update, drops)
    result["rank_input"] = rank_correlation(of_input, drops)
    return {**result, "orders": orders}


@torch.no_grad()
def of_cuts(
    model: Model,
    window: list[Moment],
    question: Question,
    removed: int,
    orders: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Drops of the score when frames are cut out of the video: encoder and frame averages lack them too."""
    start = detector_state_before(window[0], model)
    pictures = torch.cat([network_input(model, moment) for moment in window], dim=1)

    def score(left_out: np.ndarray) -> float:
        kept = np.setdiff1d(np.arange(len(window)), left_out)
        output, _ = model.detector(pictures[:, kept], start)
        last = type(output.heads)(*(p[-1:] if n < 4 else p for n, p in enumerate(output.heads)))
        said = answers(last, question)
        return float(
            np.log(said.objectness / (1 - said.objectness))
            if question.why == "object"
            else np.log(said.class_probability)
        )

    every = score(np.zeros(0, int))
    draws = [rng.permutation(len(window) - 1)[:removed] for _ in range(RANDOM_CUTS)]
    cost = {f"cut_{name}": every - score(orders[name]) for name in ("presence", "newest")}
    return {**cost, "cut_random": float(np.mean([every - score(one) for one in draws]))}


def of_weights(model: Model, moment: Moment, question: Question) -> dict[str, float]:
    """Rank correlation of the local maps with those of ever more random weights."""
    original = model.detector.state_dict()
    kept = {name: value.clone() for name, value in original.items()}
    true = explain_picture(model, moment, question)
    generator = torch.Generator().manual_seed(0)
    similar: dict[str, float] = {}
    try:
        for part in PARTS:
            shuffle_weights(model.detector, part, generator)
            now = explain_picture(model, moment, question)
            for kind in ("local", "grad_cam"):
                pairs = zip(getattr(true, kind), getattr(now, kind), strict=True)
                values = [
                    spearmanr(a.flatten(), b.flatten()).statistic for a, b in pairs if a.std() and b.std()
                ]
                similar[f"same_{kind}_after_{part}"] = float(np.mean(values)) if values else 0.0
    finally:
        model.detector.load_state_dict(kept)
    return similar


@torch.no_grad()
def shuffle_weights(detector: Detector, part: str, generator: torch.Generator) -> None:
    """Shuffle the values inside each tensor of a part: the same numbers, nothing learned."""
    module = getattr(detector, part)
    for parameter in module.parameters() if module is not None else ():
        order = torch.randperm(parameter.numel(), generator=generator)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))


def summary(rows: list[dict[str, Any]], recordings: list[str]) -> dict[str, Any]:
    """Means with intervals over recordings: figures, and how much more drops are than random ones."""
    names = sorted({name for row in rows for name in row})
    columns = {n: np.array([np.nan if row.get(n) is None else row[n] for row in rows], float) for n in names}
    for kind in ("drop", "cut"):
        for name in ("presence", "input", "newest"):
            if f"{kind}_{name}" in columns:
                columns[f"{kind}_{name}_minus_random"] = columns[f"{kind}_{name}"] - columns[f"{kind}_random"]
    if "drop_presence" in columns:
        columns["drop_presence_minus_newest"] = columns["drop_presence"] - columns["drop_newest"]
    unique, group = np.unique(recordings, return_inverse=True)
    weights = draw_weights(len(unique))
    figures: dict[str, Any] = {"detections": len(rows), "recordings": len(unique)}
    for name, values in columns.items():
        known = np.isfinite(values)
        sums = np.bincount(group[known], values[known], len(unique))
        counts = np.bincount(group[known], minlength=len(unique))
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = (weights @ sums) / (weights @ counts)
        interval = percentile_interval(drawn)
        figures[name] = {
            "mean": round(float(values[known].mean()), 4),
            "interval_95": [round(end, 4) for end in interval] if interval else None,
            "above_0": round(float((values[known] > 0).mean()), 3),
            "of": int(known.sum()),
        }
    return figures


if __name__ == "__main__":
    main()
