"""Put a trained model into the package, with its figures in its header.

python tools/ship_model.py RUN_OR_FILE --name airspace --figures thermal=eval_thermal/eval.json ...
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from seqdet.model.checkpoint import load_model, save_model
from seqdet.runs.shipped import SHIPPED_FOLDER, find_model

KEPT = (
    "map50", "map50_95", "agnostic_ap50", "f1_50", "track_accuracy", "sequence_accuracy", "hota", "idf1",
    "flicker_per_min", "delay_frames", "clips", "frames",
)  # fmt: skip


def main() -> None:
    """Read the arguments, write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="run folder or .safetensors file")
    parser.add_argument("--name", required=True, help="what users load it by")
    parser.add_argument("--figures", nargs="*", default=[], metavar="NAME=EVAL.JSON")
    parser.add_argument(
        "--note", action="append", default=[], metavar="KEY=TEXT", help="said of the training"
    )
    arguments = parser.parse_args()

    model, card = load_model(find_model(arguments.model))
    metrics = {}
    for text in arguments.figures:
        name, _, path = text.partition("=")
        figures = json.loads(Path(path).read_text(encoding="utf-8"))
        metrics[name] = {key: figures[key] for key in KEPT}
        controls = figures.get("controls", {})
        metrics[name]["controls"] = {
            control: {key: values[key] for key in KEPT} for control, values in controls.items()
        }
    training = card.training | dict(text.split("=", 1) for text in arguments.note)
    target = SHIPPED_FOLDER / f"{arguments.name}.safetensors"
    save_model(target, model, replace(card, training=training, metrics=metrics))
    print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
