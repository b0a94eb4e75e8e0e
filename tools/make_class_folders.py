"""Folders of labelled clips, ``OUT/train/CLASS/*``, ``OUT/test/CLASS/*``, from a data set, as symbolic links.

python tools/make_class_folders.py DATA OUT [--test-split val]

Sequences of unknown class are left out; how many is said.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seqdet.data.dataset import Dataset, load_dataset
from seqdet.errors import SeqdetError, UsageError


def make_class_folders(dataset: Dataset, out: Path, test_split: str) -> int:
    """Link every sequence of the splits train and ``test_split`` into the folder of its class; how many.

    Raises:
        UsageError: ``out`` exists, or a class has a name that no folder can have.
    """
    if out.exists():
        raise UsageError(f"{out} exists; choose another folder")
    for name in dataset.classes:
        if "/" in name or "\\" in name or name.startswith("."):
            raise UsageError(f"the class {name!r} cannot be the name of a folder")
    linked = 0
    for folder, split in (("train", "train"), ("test", test_split)):
        for sequence in dataset.split(split):
            if sequence.class_id >= 0:
                place = out / folder / dataset.classes[sequence.class_id]
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{sequence.name}{sequence.video.suffix}").symlink_to(sequence.video.resolve())
                linked += 1
    return linked


def main() -> None:
    """Parse, link, say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--test-split", default="test", help="split that becomes test/ (default test)")
    given = parser.parse_args()
    try:
        dataset = load_dataset(given.data)
        linked = make_class_folders(dataset, given.out, given.test_split)
    except SeqdetError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{given.out}: {linked} of {len(dataset.sequences)} sequences linked")


if __name__ == "__main__":
    main()
