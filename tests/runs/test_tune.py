"""A search: trials are trainings, the same call goes on, and what a kill left is taken up once."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from seqdet.config import ClassifierConfig, Config, GlimpseRunConfig, TrainConfig
from seqdet.config_file import load_config
from seqdet.errors import DivergedError, InputError, MissingDependencyError, UsageError
from seqdet.runs import tune as room
from seqdet.runs.synth import synth
from seqdet.runs.tune import TuneReport, tune
from seqdet.runs.tune_space import RANGES, space

pytest.importorskip("optuna")
OVER = ("learning_rate", "stochastic_depth")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune") / "data"
    return synth(folder, task="discs", sequences=4, frames=2, val_fraction=0.5, size_wh=(64, 64)).out


class Trainings:
    """Stands for ``train``: writes what a run leaves, with a figure that is known from the configuration.

    Attributes:
        configs: of every training begun, with its folder.
        stop_at: number of the call that is interrupted after its first evaluation.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configs: list[tuple[Config, Path, bool]] = []
        self.stop_at = -1
        self.diverges_above = 1.0
        monkeypatch.setattr(room, "train", self)

    def __call__(self, data: Path, *, config: Config, out: Path, resume: Path | None, tell: Any, **_: Any):
        self.configs.append((config, out, resume is not None))
        out.mkdir(exist_ok=True)
        for share in (0.5, 1.0):
            depth = config.train.stochastic_depth
            figure = share * (1 - abs(depth - 0.3))
            line = {"kind": "evaluation", "map50": figure}
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            tell(line)
            (out / "state.safetensors").touch()
            if len(self.configs) - 1 == self.stop_at:
                raise KeyboardInterrupt
            if depth > self.diverges_above:
                raise DivergedError("the loss is no number")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    return Trainings(monkeypatch)


def search(data: Path, out: Path, **options: Any) -> TuneReport:
    return tune(data, config=Config(), out=out, over=OVER, **{"trials": 12, **options})


def tried(report: TuneReport) -> list[tuple[float, ...]]:
    return [tuple(trial.values.values()) for trial in report.trials if trial.state != "fail"]


def test_the_first_trial_is_what_was_given_and_the_best_is_a_configuration(data, tmp_path, trainings):
    told = []
    report = search(data, tmp_path / "search", ended=told.append)
    assert trainings.configs[0][0] == Config()
    assert report.given == pytest.approx(0.7)
    assert report.value == max(trial.value for trial in report.trials) > report.given
    assert [trial.number for trial in told] == list(range(12))
    best = load_config(report.best)
    chosen = max(report.trials, key=lambda trial: trial.value)
    assert best.train.stochastic_depth == chosen.values["stochastic_depth"]
    assert best == load_config(None, [f"train.{name}={chosen.values[name]!r}" for name in OVER]), (
        "nothing else is changed, the share of time of a trial neither"
    )
    document = json.loads((tmp_path / "search" / "tune.json").read_text())
    assert [trial["value"] for trial in document["trials"]] == [trial.value for trial in report.trials]
    seen = [config.train.stochastic_depth for config, _, _ in trainings.configs]
    assert all(0 <= depth <= RANGES["stochastic_depth"].high for depth in seen)


@pytest.mark.parametrize("stopped", [0, 3, 8])
def test_an_interrupted_search_goes_on_to_the_same_trials(data, tmp_path, trainings, stopped):
    straight = search(data, tmp_path / "straight")
    trainings.configs.clear()
    trainings.stop_at = stopped
    with pytest.raises(KeyboardInterrupt):
        search(data, tmp_path / "stopped")
    (tmp_path / "stopped" / "study.jsonl.lock").symlink_to("gone")  # what Optuna's lock leaves at a kill
    with (tmp_path / "stopped" / "study.jsonl").open("a") as file:
        file.write('{"op_code": 4, "wor')  # a line that was cut
    report = search(data, tmp_path / "stopped")
    assert tried(report) == tried(straight)
    assert report.value == straight.value
    again = [(out.name, goes_on) for _, out, goes_on in trainings.configs].count(
        (f"trial-{stopped:04d}", True)
    )
    assert again == 1, "in its folder, from its state"
    assert len({trial.run for trial in report.trials}) == 12
    more = search(data, tmp_path / "stopped", trials=13)
    assert tried(more)[:12] == tried(straight)
    assert len(tried(more)) == 13


def test_a_trial_that_kills_the_process_is_given_up(data, tmp_path, trainings):
    for _ in range(2):
        trainings.stop_at = len(trainings.configs) + (1 if not trainings.configs else 0)
        with pytest.raises(KeyboardInterrupt):
            search(data, tmp_path / "search", trials=3)
    trainings.stop_at = -1
    report = search(data, tmp_path / "search", trials=3)
    assert [trial.state for trial in report.trials] == ["complete", "fail", "fail", "complete"]


def test_divergence_is_no_end_and_pruning_stops_early(data, tmp_path, trainings):
    trainings.diverges_above = 0.2
    report = search(data, tmp_path / "search")
    assert {trial.state for trial in report.trials} == {"complete", "pruned"}
    assert all(trial.value is None for trial in report.trials if trial.values["stochastic_depth"] > 0.2)
    trainings.diverges_above = 1.0
    pruned = search(data, tmp_path / "pruned", prune=True)
    logs = [len((trial.run / "log.jsonl").read_text().splitlines()) for trial in pruned.trials]
    assert {(trial.state, lines) for trial, lines in zip(pruned.trials, logs, strict=True)} == {
        ("complete", 2),
        ("pruned", 1),
    }


def test_time_is_shared_and_no_trial_is_begun_that_does_not_fit(data, tmp_path, trainings, monkeypatch):
    clock = iter(range(0, 10_000, 180)).__next__  # three minutes between two looks at it
    monkeypatch.setattr(room.time, "monotonic", clock)
    report = search(data, tmp_path / "search", minutes=10)
    assert len(report.trials) == 3
    assert {config.train.max_minutes for config, _, _ in trainings.configs} == {10 / 12}
    assert load_config(report.best).train.max_minutes is None


def test_another_search_or_other_files_are_not_touched(data, tmp_path, trainings):
    search(data, tmp_path / "search", trials=1)
    with pytest.raises(UsageError, match="another seed"):
        search(data, tmp_path / "search", seed=1)
    with pytest.raises(UsageError, match="another ranges"):
        tune(data, config=Config(), out=tmp_path / "search", trials=1)
    with pytest.raises(UsageError, match="holds no search"):
        search(data, data, trials=1)
    (tmp_path / "search" / "study.jsonl").write_text("no journal\nat all\n")
    with pytest.raises(InputError, match="damaged"):
        search(data, tmp_path / "search", trials=1)


def test_what_cannot_be_searched_is_said(data, tmp_path, trainings):
    bare = synth(tmp_path / "bare", task="discs", sequences=2, frames=2, val_fraction=0, size_wh=(64, 64)).out
    never = Config(train=TrainConfig(evaluate_clips=0))
    for arguments, said in (
        ({"config": GlimpseRunConfig(kind="glimpse")}, "glimpse"),
        ({"config": never}, "evaluate_clips"),
        ({"over": ("momentum",)}, "the ranges are"),
        ({"over": ("dropout",)}, "has no model.dropout"),
        ({"data": bare}, "by which trials are compared"),
    ):
        with pytest.raises(UsageError, match=said):
            tune(**{"data": data, "out": tmp_path / "search", **arguments})
    assert not (tmp_path / "search").exists()


def test_ranges_are_those_that_a_configuration_has():
    assert list(space(Config())) == ["learning_rate", "weight_decay", "label_smoothing", "stochastic_depth"]
    frozen = load_config(None, ["train.freeze=[encoder]", "train.learning_rate=.05"])
    assert "stochastic_depth" not in space(frozen)
    assert space(frozen)["learning_rate"].high == 0.05, "it holds what is given"
    of_classifier = space(ClassifierConfig(kind="sequence_classifier"))
    assert list(of_classifier) == ["learning_rate", "dropout", "rotation", "shift"]


def test_without_optuna_the_install_command_is_said(data, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name: str, *rest: Any):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r'pip install "seqdet\[tune\]"') as raised:
        search(data, tmp_path / "search")
    assert raised.value.exit_code == 5
