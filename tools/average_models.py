"""The weights between two models of one origin, one of which was fine-tuned from the other (WiSE-FT,
Wortsman et al., CVPR 2022): ``(1 - share) * MODEL + share * OTHER``, part by part.

python tools/average_models.py MODEL OTHER OUT --share .2 --keep memory

What the second lacks (input channels, for instance) counts as zero in it; ``--keep`` takes a part from MODEL
alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from seqdet.model.checkpoint import load_model, save_model
from seqdet.model.detector import Detector, build_detector
from seqdet.model.transfer import carry_over
from seqdet.runs.shipped import find_model


@torch.no_grad()
def averaged(
    model: Detector, other: Detector, share: float, keep: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """The state between two detectors of one shape; numbers that are no weights are those of ``model``."""
    others = other.state_dict()
    return {
        name: tensor
        if name.split(".")[0] in keep or not tensor.is_floating_point()
        else torch.lerp(tensor, others[name], share)
        for name, tensor in model.state_dict().items()
    }


def main() -> None:
    """Parse, average, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a shipped model, a run folder or a .safetensors file")
    parser.add_argument("other", help="the same; of the same shape, or with fewer inputs")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--share", type=float, default=0.2, help="of the other, 0..1 (default .2)")
    parser.add_argument("--keep", nargs="*", default=(), help="parts of MODEL alone, such as memory")
    given = parser.parse_args()
    model, card = load_model(find_model(given.model))
    other, _ = load_model(find_model(given.other))
    wide = build_detector(card.config, len(card.classes))
    wide.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in wide.state_dict().items()})
    carry_over(other, wide)
    model.load_state_dict(averaged(model, wide, given.share, tuple(given.keep)))
    save_model(given.out, model, card)
    print(f"{given.out}: {1 - given.share:g} of {given.model}, {given.share:g} of {given.other}")


if __name__ == "__main__":
    main()
