"""``seqdet tune`` as a story: trial after trial an ordinary training, judged by its evaluations on val.

``OUT/`` holds study.jsonl (Optuna's journal, from which the same command goes on), trial-0000/ and so on (run
folders), tune.json (every trial) and best.yaml (what ``seqdet train --config`` takes).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from seqdet.claim import alone_in
from seqdet.config import AnyConfig, ClassifierConfig, Config
from seqdet.data.dataset import load_dataset
from seqdet.errors import DivergedError, InputError, MissingDependencyError, UsageError
from seqdet.runs.kept_states import has_state
from seqdet.runs.report import write_whole
from seqdet.runs.train import Progress, Tell, config_of, train
from seqdet.runs.tune_space import Range, Tunable, changed, space, values

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

JOURNAL = "study.jsonl"
# A trial that was killed is begun again so often: what kills the process would kill it for ever.
MOST_ATTEMPTS = 2
# So many trials are drawn at random before the sampler trusts what it has seen.
RANDOM_TRIALS = 6


@dataclass(frozen=True, slots=True)
class TrialReport:
    """One trial.

    Attributes:
        number: from 0; the first is the configuration as it was given.
        state: "complete", "pruned" (worse than the others half-way, or its loss was no number), or "fail"
            (killed; another trial has gone on with it).
        value: best figure of its evaluations on val: map50, or the share of sequences named rightly.
        values: what was tried, by the name of the range.
        minutes: it took.
        run: folder.
    """

    number: int
    state: str
    value: float | None
    values: dict[str, float]
    minutes: float
    run: Path


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What a search found.

    Attributes:
        out: folder of the search.
        best: configuration to train with; None while no trial is complete.
        figure: what was compared.
        value: figure of the best trial, on the clips that it was chosen by.
        given: that of the configuration as it was given.
        ranges: what was searched.
        trials: in the order they began.
    """

    out: Path
    best: Path | None
    figure: str
    value: float | None
    given: float | None
    ranges: dict[str, Range]
    trials: tuple[TrialReport, ...]


def tune(
    data: Path,
    *,
    config: AnyConfig | None = None,
    out: Path | None = None,
    trials: int = 20,
    minutes: float | None = None,
    over: Sequence[str] = (),
    prune: bool = False,
    seed: int = 0,
    start: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    tell: Tell | None = None,
    ended: Callable[[TrialReport], None] | None = None,
) -> TuneReport:
    """Search for a better configuration; the same call goes on with a search that was stopped.

    Args:
        data: folder of the data set, with a validation split.
        config: to start from, of a detector or a sequence classifier; None takes the defaults.
        out: folder of the search; runs/tune-DATA when None.
        trials: how many in all, those of earlier calls among them.
        minutes: time budget of all trials; each has its share unless ``train.max_minutes`` says how much. One
            that does not fit any more is not begun.
        over: names of the ranges, see ``tune_space.RANGES``; none takes all that the configuration has.
        prune: stop a trial whose evaluation is below the median of those before it at the same moment.
        seed: of the search. Trial n depends on the seed and the trials before it, not on interruptions.
        start: a trained model to start every trial from, as in ``train``.
        device: "auto", "cpu" or "cuda".
        progress: is told the steps done.
        tell: is told every line of the log of every trial.
        ended: is told every trial that has ended.

    Raises:
        MissingDependencyError: Optuna is not installed.
        UsageError: nothing to search, no validation split, or ``out`` holds another search.
        InputError: the data set is not usable.
        OutputError: ``out`` cannot be written.
    """
    optuna = _optuna()
    config = config or (config_of(start) if start is not None else Config())
    if not isinstance(config, (Config, ClassifierConfig)):
        raise UsageError(
            f"tune searches for configurations of detectors and sequence classifiers, not of a {config.kind}"
        )
    ranges = space(config, over)
    dataset = load_dataset(data)
    if not dataset.where(**config.data.where).split(config.data.validation_split):
        raise UsageError(
            f"{data}: no sequence in split {config.data.validation_split!r}, by which trials are compared. "
            "Never compare by train or test: ingest with --val-fraction"
        )
    if isinstance(config, Config) and not config.train.evaluate_clips:
        raise UsageError("train.evaluate_clips is 0: there would be no figure to compare trials by")
    settings = {
        "config": config.model_dump(mode="json"),
        "ranges": {name: asdict(one) for name, one in ranges.items()},
        "data": str(data.resolve()),
        "seed": seed,
        "from": None if start is None else str(start),
        "prune": prune,
    }
    share = config.train.max_minutes or (minutes / trials if minutes else None)
    out = out or Path("runs") / f"tune-{dataset.root.resolve().name}"
    with alone_in(out):
        search = _Search(optuna, _study(optuna, out, settings), out, config, ranges, seed, prune)
        search.take_up()
        while search.ended() < trials and search.has_time(minutes):
            trial = search.next()
            fields = {ranges[name].key: value for name, value in trial.params.items()}
            limit = {"train.max_minutes": min(share, minutes) if share and minutes else share}
            run = out / trial.user_attrs["run"]
            goes_on = has_state(run)
            with search.judging(trial, run):
                train(
                    data,
                    config=changed(config, fields | limit),
                    out=run,
                    resume=run if goes_on else None,
                    start=None if goes_on else start,
                    device=device,
                    force=True,
                    progress=progress,
                    tell=search.watch(trial, run, tell),
                )
            report = search.write()
            if ended is not None:
                ended(report.trials[-1])
        return search.write()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError('seqdet tune needs optuna: pip install "seqdet[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, out: Path, settings: dict[str, Any]) -> Study:
    """The search that is in the folder, or a new one."""
    path = out / JOURNAL
    if path.is_file():  # a kill may have cut its last line, to which the next one would be joined
        whole, newline, cut = path.read_bytes().rpartition(b"\n")
        if cut:
            path.write_bytes(whole + newline)
    elif any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no search; choose another --out")
    # ``alone_in`` has locked the folder: a lock of Optuna's that is there is of a process that was killed.
    path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    try:
        journal = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(journal)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if settings["prune"] else None
        study = optuna.create_study(
            storage=storage,
            study_name="seqdet",
            direction="maximize",
            pruner=pruner or optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path}: the journal of the search is damaged ({error}); choose another --out"
        ) from error
    before = study.user_attrs.get("settings", settings)
    if other := [name for name in settings if before.get(name) != settings[name]]:
        raise UsageError(
            f"{out} holds a search with another {', '.join(other)}. The same command goes on with it; for "
            "another search choose another --out"
        )
    study.set_user_attr("settings", settings)
    return study


@dataclass(frozen=True, slots=True)
class _Search:
    """A search under way. All that changes is in Optuna's study, which is on disk."""

    optuna: Any
    study: Study
    out: Path
    config: Tunable
    ranges: dict[str, Range]
    seed: int
    prune: bool

    def trials(self) -> list[FrozenTrial]:
        """All of them, in the order they began or were queued."""
        return self.study.get_trials(deepcopy=False)

    def take_up(self) -> None:
        """Mark the trial that a kill has left under way, and queue it again in its folder."""
        for trial in self.trials():
            if trial.state.name != "RUNNING":
                continue
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
            attempt = trial.user_attrs.get("attempt", 1)
            wanted = trial.system_attrs.get("fixed_params", {}) | trial.params
            if attempt < MOST_ATTEMPTS and wanted:
                run = {"run": trial.user_attrs["run"]} if "run" in trial.user_attrs else {}
                self.study.enqueue_trial(wanted, user_attrs={"attempt": attempt + 1, **run})

    def ended(self) -> int:
        """How many trials have been brought to an end, or given up; one that was taken up counts once."""
        runs = {trial.user_attrs.get("run") for trial in self.trials() if trial.state.is_finished()}
        queued = {trial.user_attrs.get("run") for trial in self.trials() if trial.state.name == "WAITING"}
        return len(runs - queued - {None})

    def has_time(self, minutes: float | None) -> bool:
        """True where one more trial as long as those before fits; the first always does."""
        spent = [t.user_attrs["minutes"] for t in self.trials() if "minutes" in t.user_attrs]
        return minutes is None or not spent or sum(spent) + sum(spent) / len(spent) <= minutes

    def next(self) -> Trial:
        """The next trial, with its values and its folder; the first is the configuration as it was given."""
        ended = self.ended()
        drawn = int(np.random.SeedSequence([self.seed, ended]).generate_state(1)[0])
        self.study.sampler = self.optuna.samplers.TPESampler(seed=drawn, n_startup_trials=RANDOM_TRIALS)
        if not self.trials():
            self.study.enqueue_trial(self._given())
        trial = self.study.ask()
        for name, one in self.ranges.items():
            trial.suggest_float(name, one.low, one.high, log=one.log)
        if "run" not in trial.user_attrs:
            trial.set_user_attr("run", f"trial-{ended:04d}")
        return trial

    def _given(self) -> dict[str, float]:
        """What the configuration says, where the ranges hold it."""
        given = values(self.config, self.ranges)
        return {k: v for k, v in given.items() if self.ranges[k].low <= v <= self.ranges[k].high}

    def watch(self, trial: Trial, run: Path, tell: Tell | None) -> Tell:
        """What listens to a training: passes its lines on, and stops it where it lags behind."""

        def told(line: dict[str, Any]) -> None:
            if tell is not None:
                tell(line)
            if self.prune and line["kind"] == "evaluation":
                figures = _figures(run)
                trial.report(max(figures, default=0.0), len(figures))
                if trial.should_prune():
                    raise self.optuna.TrialPruned

        return told

    @contextmanager
    def judging(self, trial: Trial, run: Path) -> Iterator[None]:
        """What a training has come to. An interruption leaves the trial under way, to be taken up."""
        began_s, state, why = time.monotonic(), "COMPLETE", ""
        try:
            yield
        except self.optuna.TrialPruned:
            state = "PRUNED"
        except DivergedError as error:
            state, why = "PRUNED", str(error)  # not failed: the sampler is to learn from it
        trial.set_user_attr("minutes", (time.monotonic() - began_s) / 60)
        trial.set_user_attr("why", why)
        figure = max(_figures(run), default=None)
        if state == "PRUNED" or figure is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, figure)

    def write(self) -> TuneReport:
        """tune.json and best.yaml as of now."""
        trials = tuple(self._report(trial) for trial in self.trials() if trial.state.is_finished())
        complete = [trial for trial in trials if trial.value is not None]
        best = max(complete, key=lambda trial: trial.value or 0.0, default=None)
        given = [trial.value for trial in complete if trial.values == values(self.config, self.ranges)]
        if best is not None:
            fields = {self.ranges[name].key: value for name, value in best.values.items()}
            document = changed(self.config, fields).model_dump(mode="json")
            about = f"# The best of {len(complete)} trials of seqdet tune, chosen on val: {best.value:.4f}\n"
            write_whole(self.out / "best.yaml", about + yaml.safe_dump(document, sort_keys=False))
        report = TuneReport(
            out=self.out,
            best=None if best is None else self.out / "best.yaml",
            figure="map50 on val" if isinstance(self.config, Config) else "accuracy on val",
            value=None if best is None else best.value,
            given=given[0] if given else None,
            ranges=self.ranges,
            trials=trials,
        )
        write_whole(self.out / "tune.json", json.dumps(asdict(report), indent=1, default=str))
        return report

    def _report(self, trial: FrozenTrial) -> TrialReport:
        return TrialReport(
            number=trial.number,
            state=trial.state.name.lower(),
            value=trial.value if trial.state.name == "COMPLETE" else None,
            values=trial.params,
            minutes=round(trial.user_attrs.get("minutes", 0.0), 3),
            run=self.out / trial.user_attrs.get("run", ""),
        )


def _figures(run: Path) -> list[float]:
    """The figure of every evaluation in the log of a run: map50, or the share of sequences named rightly."""
    figures = []
    for text in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["kind"] == "evaluation":
            known = [line.get(name) for name in ("map50", "sequence_accuracy", "accuracy")]
            figures += [figure for figure in known if figure is not None and math.isfinite(figure)][:1]
    return figures
