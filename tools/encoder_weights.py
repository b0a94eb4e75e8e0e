"""The encoder of a trained detector as a file for ``model.encoder_weights`` of another training.

python tools/encoder_weights.py MODEL OUT.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import save_file

from seqdet.model.checkpoint import load_model
from seqdet.model.encoder import torchvision_weights
from seqdet.runs.shipped import find_model


def main() -> None:
    """Parse, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a shipped model, a run folder or a .safetensors file")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    given = parser.parse_args()
    model, card = load_model(find_model(given.model))
    save_file(torchvision_weights(card.config.encoder, model.encoder), given.out)
    print(f"{given.out}: model.encoder={card.config.encoder} model.encoder_weights={given.out}")


if __name__ == "__main__":
    main()
