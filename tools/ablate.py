"""Ablations: variants trained at equal steps and data, evaluated with memory on and off, one JSON line a run.

python tools/ablate.py --study memory --data motion --seeds 0 1 2 --out scratch/ablate/memory.jsonl
python tools/ablate.py --table scratch/ablate/*.jsonl

A run that is in the file already is skipped, so that an interrupted study goes on. ``--data`` is a stress
axis (rendered once, beside the file) or the folder of a data set. docs/ablations.md has commands and results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any, get_args

import torch
from torch.utils.flop_counter import FlopCounterMode

from seqdet.config import Config, EncoderName, ModelConfig, StageConfig
from seqdet.config_file import load_config, with_overrides
from seqdet.data.dataset import load_dataset
from seqdet.data.synth.stress.axes import AXES
from seqdet.model.detector import build_detector
from seqdet.runs.measure import all_figures, evenly, measure
from seqdet.runs.stream import Model, load
from seqdet.runs.synth import STRESS, synth
from seqdet.runs.train import train

# Name of a variant -> what it changes, as for ``seqdet train --set``.
Variants = dict[str, list[str]]

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ablation.yaml"
KEPT = (
    "map50", "agnostic_ap50", "f1_50", "track_accuracy", "track_accuracy_after", "sequence_accuracy",
    "flicker_per_min", "delay_frames",
)  # fmt: skip
COLUMNS = {
    "map50": "map50",
    "agnostic_ap50": "agnostic AP50",
    "track_accuracy": "track accuracy",
    "sequence_accuracy": "sequence accuracy",
}


def memory_study(base: Config) -> Variants:
    """What remembers, from nothing to everything."""
    frames = ["model.memory=false", *cut_to(base, 1), *streaming(base, 0)]
    return {
        "no memory (single frames)": frames,
        "no memory, widened": [*frames, f"model.channels={widened(base.model)}"],
        "vector LSTMs only": ["model.memory=false"],
        "bottleneck": [],
        "bottleneck, no peepholes": ["model.peepholes=false"],
        "full ConvLSTM": ["model.memory_cell=convlstm"],
        "ConvGRU": ["model.memory_cell=convgru"],
        "bottleneck and frame differences": ["model.difference_rates=[1, 0.1]"],
    }


def clip_study(base: Config) -> Variants:
    """Length of a clip, at equal frames a batch."""
    return {f"T = {length}": cut_to(base, length) for length in (2, 4, 8, 16)}


def streamed_study(base: Config) -> Variants:
    """Part of the batch that goes on with the state of the batch before."""
    return {f"{share:g} streamed": streaming(base, share) for share in (0, 0.5, 1)}


def objectness_study(base: Config) -> Variants:
    """An output of its own, or the best class."""
    return {name: [f"model.objectness={name}"] for name in ("separate", "merged")}


def encoder_study(base: Config) -> Variants:
    """The networks that embed a frame, from random weights."""
    return {name: [f"model.encoder={name}"] for name in get_args(EncoderName)}


def levels_study(base: Config) -> Variants:
    """Strides of the maps that carry memory and heads."""
    return {str(levels): [f"model.levels={levels}"] for levels in ([8], [8, 16], [4, 8, 16], [8, 16, 32])}


STUDIES: dict[str, Callable[[Config], Variants]] = {
    "memory": memory_study,
    "clip": clip_study,
    "streamed": streamed_study,
    "objectness": objectness_study,
    "encoder": encoder_study,
    "levels": levels_study,
}


def clip_stages(base: Config) -> list[tuple[str, StageConfig]]:
    """Key and settings of the stages that train on clips of more than one frame."""
    stages = enumerate(base.train.stages)
    return [(f"train.stages.{index}", stage) for index, stage in stages if stage.frames_per_clip > 1]


def cut_to(base: Config, length: int) -> list[str]:
    """Clips of ``length`` frames, and so many more of them that a batch has as many frames as before."""
    changes = []
    for key, stage in clip_stages(base):
        clips = stage.clips_per_batch * stage.frames_per_clip // length
        changes += [f"{key}.frames_per_clip={length}", f"{key}.clips_per_batch={clips}"]
    return changes


def streaming(base: Config, share: float) -> list[str]:
    """``share`` of the clips of a batch go on with carried state."""
    return [f"{key}.streamed_fraction={share}" for key, _ in clip_stages(base)]


def multiply_adds(config: ModelConfig) -> int:
    """Multiply-adds of the detector for one frame."""
    model = build_detector(config.model_copy(update={"encoder_weights": None}), 2).eval()
    width, height = config.input_size_wh
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 3, height, width, dtype=torch.uint8))
    return counter.get_total_flops() // 2


def widened(config: ModelConfig) -> int:
    """Channels with which a detector without map memory costs as much as ``config``, in steps of 2."""
    wanted = multiply_adds(config)
    channels = config.channels
    while multiply_adds(config.model_copy(update={"memory": False, "channels": channels})) < wanted:
        channels += 2
    return channels


def one_run(config: Config, data: Path, limit: int | None, device: str) -> dict[str, Any]:
    """Train and evaluate one variant."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seqdet-ablate-") as work:
        report = train(data, config=config, out=Path(work) / "run", device=device)
        model = load(report.model, device)
        minutes = (time.monotonic() - started) / 60
        row = {
            "multiply_adds": multiply_adds(config.model),
            "parameters": sum(parameter.numel() for parameter in model.detector.parameters()),
            "training_minutes": round(minutes, 2),
        }
        off = model.with_options(replace(model.options, memory=False))
        row["off"] = figures(off, data, config, limit)
        # A memory that has never seen a second frame has nothing to say.
        trained = any(stage.frames_per_clip > 1 for stage in config.train.stages)
        row["on"] = figures(model, data, config, limit) if trained else None
    return row


def figures(model: Model, data: Path, config: Config, limit: int | None) -> dict[str, Any]:
    """The figures of a model on the validation split."""
    dataset = load_dataset(data).where(**config.data.where)
    clips = evenly(dataset.split(config.data.validation_split), limit)
    measured = all_figures(measure(model, dataset, clips), dataset.classes)
    return {name: measured[name] for name in KEPT}


def stress_set(axis: str, folder: Path, sequences: int, size_wh: tuple[int, int]) -> Path:
    """The data set of a stress axis, rendered unless it is there."""
    if not folder.exists():
        print(f"rendering {sequences} sequences of {axis} to {folder}", flush=True)
        synth(folder, task=STRESS + axis, sequences=sequences, size_wh=size_wh, seed=0, val_fraction=0.2)
    return folder


def run_study(arguments: argparse.Namespace) -> None:
    """Run what is not in the file yet."""
    settings = [f"train.threads={arguments.threads}", *arguments.set]
    if arguments.steps:
        settings.append(f"train.steps={arguments.steps}")
    base = load_config(arguments.config, settings)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    data = Path(arguments.data)
    if arguments.data in AXES:
        folder = out.parent / "data" / arguments.data
        data = stress_set(arguments.data, folder, arguments.sequences, base.model.input_size_wh)
    variants = STUDIES[arguments.study](base)
    if arguments.study == "encoder" and arguments.weights:
        variants["mobilenet_v2 with weights"] = [
            "model.encoder=mobilenet_v2", f"model.encoder_weights={arguments.weights}",
        ]  # fmt: skip
    for seed in arguments.seeds:
        for variant, changes in variants.items():
            if arguments.variants and variant not in arguments.variants:
                continue
            key = {
                "study": arguments.study, "data": data.name, "variant": variant, "seed": seed,
                "steps": base.train.steps, "set": arguments.set,
            }  # fmt: skip
            if any(all(row.get(name) == value for name, value in key.items()) for row in rows([out])):
                continue
            config = with_overrides(base, [*changes, f"train.seed={seed}"])
            row = key | one_run(config, data, arguments.limit, arguments.device)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """All lines of the files that exist."""
    texts = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a table for each study, data set and number of steps; mean (min..max) over the seeds."""

    def group(row: dict[str, Any]) -> tuple[str, str, int, str]:
        return row["study"], row["data"], row["steps"], " ".join(row["set"])

    parts = []
    for (study, data, steps, settings), of_table in groupby(sorted(found, key=group), key=group):
        entries = list(of_table)
        heading = f"### {study}, {data}: {steps} steps" + (f", {settings}" if settings else "")
        names = [f"{title}, {how}" for title in COLUMNS.values() for how in ("on", "off")]
        lines = [f"| variant | seeds | M MAC | {' | '.join(names)} |", "| --- " * (3 + len(names)) + "|"]
        for variant in dict.fromkeys(row["variant"] for row in entries):
            runs = [row for row in entries if row["variant"] == variant]
            cells = [
                spread(row[how] and row[how][name] for row in runs)
                for name in COLUMNS
                for how in ("on", "off")
            ]
            macs = f"{runs[0]['multiply_adds'] / 1e6:.1f}"
            lines.append(f"| {variant} | {len(runs)} | {macs} | {' | '.join(cells)} |")
        parts.append("\n".join([heading, "", *lines]))
    return "\n\n".join(parts)


def spread(values: Iterable[float | None]) -> str:
    """``mean (min..max)``, or a dash where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{mean(known):.3f}" + (f" ({min(known):.3f}..{max(known):.3f})" if len(known) > 1 else "")


def main() -> None:
    """Read the arguments; run a study or print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FILE.jsonl", help="print tables of these files"
    )
    parser.add_argument("--study", choices=STUDIES)
    parser.add_argument("--data", default="motion", help=f"{', '.join(AXES)}, or a folder (motion)")
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--set", nargs="+", default=[], metavar="section.key=value", help="in every variant")
    parser.add_argument(
        "--weights", type=Path, help="ImageNet weights of mobilenet_v2, for the encoder study"
    )
    parser.add_argument(
        "--sequences", type=int, default=480, help="of a stress set, a fifth of them val (480)"
    )
    parser.add_argument("--limit", type=int, help="val clips at most")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1); 0 takes all")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(rows(arguments.table)))
    elif arguments.study and arguments.out:
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        run_study(arguments)
    else:
        parser.error("give --study and --out, or --table")


if __name__ == "__main__":
    main()
