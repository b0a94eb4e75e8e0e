"""The simulation of a corpus keeps the account of the real ledger, and says what it is for."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from simulate_corpus import simulate


def test_every_video_ends_once_and_heaviest_first_ends_sooner():
    in_order = simulate(400, 20, 0, 0.0, heaviest_first=False)
    heaviest = simulate(400, 20, 0, 0.0, heaviest_first=True)
    cut = simulate(400, 20, 60, 0.02, heaviest_first=True)
    for got in (in_order, heaviest, cut):
        assert (got["done"], got["failed"]) == (396, 4)
        assert 0 < got["busy"] <= 1
    assert heaviest["run_hours"] <= in_order["run_hours"]
    assert cut["units"] > 400
