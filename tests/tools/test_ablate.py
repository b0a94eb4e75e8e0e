"""The studies compare like with like, and a finished run is not run again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from seqdet.config_file import load_config, with_overrides

TOOL = Path(__file__).resolve().parents[2] / "tools" / "ablate.py"


@pytest.fixture(scope="module")
def ablate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablate", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("study", ["memory", "clip", "streamed", "objectness", "encoder", "levels"])
def test_variants_see_equally_many_frames_in_equally_many_steps(ablate, study):
    base = load_config(ablate.CONFIG)
    variants = ablate.STUDIES[study](base)
    configs = [with_overrides(base, changes) for changes in variants.values()]
    shapes = {
        (config.train.steps, stage.share, stage.frames_per_clip * stage.clips_per_batch)
        for config in configs
        for stage in config.train.stages
    }
    assert len(shapes) == len(base.train.stages)
    assert len({config.model_dump_json() for config in configs}) == len(configs), "no two are the same"


def test_a_widened_detector_costs_what_the_memory_costs(ablate):
    base = load_config(ablate.CONFIG).model
    wide = ablate.widened(base)
    costs = {
        channels: ablate.multiply_adds(base.model_copy(update={"memory": False, "channels": channels}))
        for channels in (base.channels, wide - 2, wide)
    }
    assert costs[wide - 2] < ablate.multiply_adds(base) <= costs[wide]


def test_a_table_has_mean_and_spread_over_the_seeds(ablate, tmp_path):
    def row(variant: str, seed: int, value: float, on: bool = True) -> dict:
        figures = dict.fromkeys(ablate.KEPT, value)
        return {
            "study": "memory", "data": "motion", "steps": 5, "set": [], "variant": variant, "seed": seed,
            "multiply_adds": 2_500_000, "on": figures if on else None, "off": figures,
        }  # fmt: skip

    file = tmp_path / "rows.jsonl"
    lines = [row("a", 0, 0.25), row("a", 1, 0.75), row("b", 0, 0.5, on=False)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    heading, _, titles, _, first, second = ablate.table(ablate.rows([file, tmp_path / "absent"])).split("\n")
    assert heading == "### memory, motion: 5 steps"
    assert first.startswith("| a | 2 | 2.5 | 0.500 (0.250..0.750) |")
    assert second.startswith("| b | 1 | 2.5 | - | 0.500 |")
    assert titles.count("|") == first.count("|") == second.count("|")


def test_what_is_in_the_file_is_skipped(ablate, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(ablate, "one_run", lambda config, *_: runs.append(config) or {"on": None, "off": {}})
    out = tmp_path / "rows.jsonl"
    command = ["ablate.py", "--study", "objectness", "--data", str(tmp_path), "--out", str(out), "--seeds"]
    for seeds, done in ((["0"], 2), (["0"], 2), (["0", "1"], 4)):
        monkeypatch.setattr("sys.argv", [*command, *seeds])
        ablate.main()
        assert len(runs) == done
    assert [config.train.seed for config in runs] == [0, 0, 1, 1]
    assert [config.model.objectness for config in runs] == ["separate", "merged"] * 2
