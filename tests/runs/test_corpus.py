"""A corpus as a whole: every video exactly once, whatever dies; folders of other runs are left alone."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from in_process_engine import InProcess

from seqdet.errors import InputError, MissingDependencyError, UsageError
from seqdet.runs import corpus
from seqdet.runs.corpus import CorpusOptions, detect_corpus, drive
from seqdet.runs.corpus_ledger import Ledger
from seqdet.runs.corpus_local import LocalEngine
from seqdet.runs.corpus_manifest import Entry
from seqdet.runs.corpus_values import Died, Finished, Outcome
from seqdet.runs.corpus_worker import output_name
from seqdet.runs.detect import detect_files

OPTIONS = CorpusOptions(runtime="torch", device="cpu", score=0.001, workers=2)


@pytest.fixture
def engines(monkeypatch):
    """The engines that runs have begun, each without processes."""
    begun = []

    def make(job, options, units):
        begun.append(InProcess(job))
        return begun[-1]

    monkeypatch.setattr(corpus, "_engine", make)
    return begun


@pytest.fixture
def videos(make_video, tmp_path):
    """A manifest of two good videos, one that is none and one that is missing."""
    make_video("a.mp4", frames=5)
    make_video("b.mp4", frames=9)
    (tmp_path / "bad.mp4").write_text("no video")
    manifest = tmp_path / "list.txt"
    manifest.write_text("a.mp4\nbad.mp4\nb.mp4\nmissing.mp4\na.mp4\n../c.mp4\n")
    return manifest


def run(manifest: Path, model: Path, **changes):
    return detect_corpus(manifest, manifest.parent / "out", model, replace(OPTIONS, **changes))


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("rows/*/*")
    }


def test_each_entry_is_in_the_account_once_and_rows_are_those_of_detect(videos, model_path, engines):
    report = run(videos, model_path)
    assert report.entries == 6 == report.done + report.failed + report.refused + report.duplicates
    assert (report.done, report.failed, report.refused, report.duplicates) == (2, 2, 1, 1)
    assert report.frames == report.decoded == 14
    assert report.exit_code == 4
    problems = [json.loads(line) for line in (videos.parent / "out/problems.jsonl").read_text().splitlines()]
    assert sorted((each["line"], each["kind"]) for each in problems) == [
        (2, "failed"),
        (4, "failed"),
        (5, "duplicate"),
        (6, "refused"),
    ]
    assert not (videos.parent / "out/work").exists()
    alone = videos.parent / "alone.jsonl"
    a = str(videos.parent / "a.mp4")
    detect_files([a], save=[alone], model=model_path, runtime="torch", score=0.001, device="cpu")
    rows = (videos.parent / "out" / f"{output_name(a)}.jsonl").read_text()
    assert rows == alone.read_text().replace(json.dumps(a), '"a.mp4"')
    assert report.detections > 0


def test_parquet_says_what_the_lines_say(videos, model_path, engines):
    parquet = pytest.importorskip("pyarrow.parquet")
    run(videos, model_path)
    base = videos.parent / "out" / output_name(str(videos.parent / "b.mp4"))
    table = parquet.read_table(f"{base}.parquet")
    *rows, sequence = [json.loads(line) for line in Path(f"{base}.jsonl").read_text().splitlines()]
    assert table.num_rows == len(rows) > 0
    for row, cells in zip(rows, table.to_pylist(), strict=True):
        box = [cells[name] for name in ("x1_px", "y1_px", "x2_px", "y2_px")]
        assert box == pytest.approx(row["box_xyxy_px"], rel=1e-6)
        assert cells["score"] == pytest.approx(row["score"], rel=1e-6)
        for name in ("source", "frame", "time_s", "track_id", "label", "track_label"):
            assert cells[name] == row[name]
    assert json.loads(parquet.read_metadata(f"{base}.parquet").metadata[b"seqdet.sequence"]) == sequence


def test_the_same_command_again_does_nothing_but_what_is_needed(videos, model_path, engines):
    run(videos, model_path)
    out = videos.parent / "out"
    before = stamps(out)
    again = run(videos, model_path)
    assert (again.skipped, again.done, again.exit_code, len(engines)) == (2, 2, 4, 1)
    assert stamps(out) == before
    os.utime(videos.parent / "a.mp4")  # another time, the same content
    assert run(videos, model_path).skipped == 2
    damaged = out / f"{output_name(str(videos.parent / 'a.mp4'))}.jsonl"
    damaged.write_text("damaged")
    (videos.parent / "missing.mp4").write_bytes((videos.parent / "b.mp4").read_bytes())
    third = run(videos, model_path)
    assert sorted(engines[-1].worked) == ["a.mp4", "missing.mp4"]
    assert (third.done, third.failed) == (3, 1)
    after = stamps(out)
    assert all(after[name][1] == content for name, (_, content) in before.items()), "the same rows again"
    (videos.parent / "b.mp4").write_bytes((videos.parent / "a.mp4").read_bytes())
    run(videos, model_path)
    assert engines[-1].worked == ["b.mp4"], "its content has changed"
    run(videos, model_path, retry_failed=True)
    assert engines[-1].worked == ["bad.mp4"]


def test_a_video_that_is_done_costs_three_looks(videos, model_path, engines, monkeypatch):
    """At itself and its two results; a list may have a million, on a file server."""
    run(videos, model_path)
    looks, look = Counter(), os.stat

    def counted(path, **options):
        looks[Path(path).suffix if isinstance(path, str | Path) else ""] += 1
        return look(path, **options)

    monkeypatch.setattr(os, "stat", counted)
    with Ledger(videos.parent / "out") as ledger:
        for record in ledger.records("done"):
            assert corpus._judged(record, videos.parent / "out", False) is None
    assert looks == {".mp4": 2, ".jsonl": 2, ".parquet": 2}


@pytest.mark.parametrize("change", ["score", "model", "manifest", "parquet", "other things", "a file"])
def test_the_folder_of_another_run_is_refused_and_unharmed(videos, model_path, engines, tmp_path, change):
    out = videos.parent / "out"
    other: dict = {}
    model = model_path
    if change == "other things":
        out.mkdir()
        (out / "thesis.doc").write_text("precious")
    elif change == "a file":
        out.write_text("precious")
    else:
        run(videos, model_path)
        other = {"score": {"score": 0.5}, "parquet": {"parquet": False}}.get(change, {})
        if change == "manifest":
            videos.write_text("b.mp4\n")
        if change == "model":
            model = tmp_path / "other.safetensors"
            model.write_bytes(model_path.read_bytes() + b"")
            model.write_bytes(b"x" + model_path.read_bytes())
    seen = stamps(out) if out.is_dir() else {}
    with pytest.raises((UsageError, InputError)) as refused:
        run(videos, model, **other)
    if change != "model":
        assert "out" in str(refused.value)
    assert (stamps(out) if out.is_dir() else {}) == seen
    assert (out / "thesis.doc").exists() == (change == "other things")


def test_a_manifest_that_has_grown_is_taken_in_on_request(videos, model_path, engines, make_video):
    run(videos, model_path)
    make_video("new.mp4", frames=3)
    videos.write_text(videos.read_text() + "new.mp4\n")
    report = run(videos, model_path, extend=True)
    assert engines[-1].worked == ["new.mp4"]
    assert (report.done, report.skipped, report.entries) == (3, 2, 7)


def test_an_empty_manifest_is_an_error_and_begins_no_run(tmp_path, model_path, engines):
    (tmp_path / "list.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="no entry"):
        run(tmp_path / "list.txt", model_path)
    with Ledger(tmp_path / "out") as ledger:
        assert ledger.settings() == {}


def test_a_folder_in_use_is_refused(videos, model_path, engines):
    run(videos, model_path)
    with Ledger(videos.parent / "out"), pytest.raises(UsageError, match="another run works"):
        run(videos, model_path)


def test_parquet_without_pyarrow_is_the_line_that_installs_it(videos, model_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'seqdet\[cluster\]'"):
        run(videos, model_path)
    assert not (videos.parent / "out").exists()


def test_videos_in_an_object_store_are_fetched(model_path, engines, make_video, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://corpus/a.mp4", "wb") as remote:
        remote.write(make_video("a.mp4", frames=4).read_bytes())
    manifest = tmp_path / "list.csv"
    manifest.write_text("url\nmemory://corpus/a.mp4\nmemory://corpus/none.mp4\n")
    report = run(manifest, model_path)
    assert (report.done, report.failed, report.frames) == (1, 1, 4)
    assert "none.mp4: no such object" in report.problems[0].reason
    assert run(manifest, model_path).skipped == 1


def test_a_silent_unit_is_taken_from_its_worker(tmp_path):
    """The lease of a unit without a sign of life ends, its worker is killed, another does it."""
    now = [0.0]

    class Hanging:
        stopped: list = []  # noqa: RUF012
        units: list = []  # noqa: RUF012

        def free(self):
            return 1 - len(self.units)

        def give(self, unit):
            self.units.append(unit)

        def wait(self, timeout_s):
            now[0] += 10
            if self.stopped and self.units[0].attempt == 1:
                return [Died((self.units.pop().unit_id,), "killed")]
            if self.units[0].attempt == 2:
                return [Finished(self.units.pop().unit_id, Outcome(frames=1, decoded=1))]
            return []

        def stop(self, unit_id):
            self.stopped.append(now[0])

    with Ledger(tmp_path) as ledger:
        ledger.begin({}, [Entry(1, "/a.mp4", "a.mp4")])
        engine = Hanging()
        drive(ledger, engine, attempts=2, lease_s=100, clock=lambda: now[0])
        assert 100 < engine.stopped[0] < 160
        (record,) = ledger.records("done")
        assert record.attempts == 2


class Killed(LocalEngine):
    """Processes, of which a random one is killed now and then."""

    def __init__(self, job, kills):
        self.kills = kills
        super().__init__(job, 2)

    def wait(self, timeout_s):
        busy = [worker for worker in self._workers if worker.units]
        if self.kills and busy and random.random() < 0.3:
            self.kills -= 1
            os.kill(random.choice(busy).process.pid, signal.SIGKILL)
        return super().wait(0.05)


def test_workers_killed_at_random_change_nothing(make_video, model_path, tmp_path, monkeypatch):
    for number in range(12):
        make_video(f"{number}.mp4", frames=5 + 7 * (number % 4))
    manifest = tmp_path / "list.txt"
    manifest.write_text("".join(f"{number}.mp4\n" for number in range(12)))
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_engine", lambda job, options, units: InProcess(job))
        detect_corpus(manifest, tmp_path / "straight", model_path, OPTIONS)
    engine = []

    def killing(job, options, units):
        engine.append(Killed(job, kills=2))
        return engine[0]

    monkeypatch.setattr(corpus, "_engine", killing)
    report = detect_corpus(manifest, tmp_path / "killed", model_path, replace(OPTIONS, attempts=10))
    assert engine[0].kills == 0
    assert (report.done, report.failed, report.exit_code) == (12, 0, 0)
    rows = [
        {name: content for name, (_, content) in stamps(tmp_path / run).items()}
        for run in ("straight", "killed")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 24
