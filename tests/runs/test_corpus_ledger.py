"""The ledger: every video is in one state, nothing is lost at a kill, one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqdet.errors import InputError, UsageError
from seqdet.runs.corpus_ledger import NAME, Ledger
from seqdet.runs.corpus_manifest import Entry
from seqdet.runs.corpus_values import WHOLE, Fingerprint, Outcome, Part

DONE = Outcome(frames=3, decoded=3, outputs={"rows/a.jsonl": Fingerprint(1, 2, "x")})


def entries(count: int) -> list[Entry]:
    return [Entry(line, f"/v/{line}.mp4", f"{line}.mp4") for line in range(1, count + 1)]


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path) as one:
        yield one


def test_duplicates_and_refused_entries_are_counted_and_named(ledger):
    twice = [*entries(3), Entry(9, "/v/2.mp4", "2.mp4"), Entry(10, "", "..", "it climbs")]
    ledger.begin({"a": "b"}, twice)
    counts = ledger.counts()
    assert (counts["pending"], counts["duplicate"], counts["refused"]) == (3, 1, 1)
    assert list(ledger.refused()) == [(9, "2.mp4", "the same as line 2", 1), (10, "..", "it climbs", 0)]
    assert ledger.settings() == {"a": "b"}


def test_a_manifest_that_breaks_off_leaves_nothing(ledger):
    def broken():
        yield from entries(5)
        raise InputError("the disk is gone")

    with pytest.raises(InputError):
        ledger.begin({"a": "b"}, broken())
    assert ledger.counts()["pending"] == 0
    assert ledger.settings() == {}


def test_the_heaviest_goes_first_and_each_is_claimed_once(ledger):
    ledger.begin({}, entries(4))
    ledger.look([(n, "pending", Fingerprint(size, 0), "") for n, size in enumerate((5, 50, 7, 7), start=1)])
    claimed = [ledger.claim(10.0) for _ in range(5)]
    assert [unit.shown for unit in claimed if unit] == ["2.mp4", "3.mp4", "4.mp4", "1.mp4"]
    assert claimed[-1] is None


def test_what_ran_when_the_driver_died_runs_again_and_is_no_crash_of_its_own(ledger):
    ledger.begin({}, entries(2))
    unit = ledger.claim(10.0)
    for _ in range(10):
        assert ledger.recover() == 1
        unit = ledger.claim(10.0)
    assert unit.attempt == 11
    ledger.finish(unit.unit_id, DONE)
    (record,) = ledger.records("done")
    assert (record.outcome, record.attempts) == (DONE, 11)


def test_a_video_that_kills_its_workers_is_given_up(ledger):
    ledger.begin({}, entries(1))
    reason = "killed by SIGKILL"
    given_up = [ledger.crashed(ledger.claim(10.0).unit_id, reason, allowed=3) for _ in range(3)]
    assert given_up == [False, False, True]
    (record,) = ledger.records("failed")
    assert "3 workers died" in record.reason
    assert "SIGKILL" in record.reason


def test_leases_end_unless_renewed(ledger):
    ledger.begin({}, entries(2))
    first, second = ledger.claim(10.0), ledger.claim(10.0)
    ledger.renew([second.unit_id], 20.0)
    assert ledger.expired(15.0) == [first.unit_id]


def test_a_long_video_is_cut_done_in_parts_and_joined_once(ledger):
    ledger.begin({}, entries(1))
    whole = ledger.claim(10.0)
    parts = (Part(0, 0, 100), Part(80, 100, 200))
    assert not ledger.finish(whole.unit_id, Outcome(parts=parts))
    units = [ledger.claim(10.0), ledger.claim(10.0)]
    assert {unit.part for unit in units} == set(parts)
    assert ledger.claim(10.0) is None, "it cannot be joined before its parts are done"
    for unit in units:
        assert not ledger.finish(unit.unit_id, DONE)
    join = ledger.claim(10.0)
    assert (join.number, join.parts) == (WHOLE, parts)
    assert ledger.finish(join.unit_id, DONE)
    assert (ledger.counts()["done"], ledger.waiting()) == (1, 0)


def test_a_part_that_fails_fails_its_video_and_late_parts_are_heard_in_peace(ledger):
    ledger.begin({}, entries(1))
    ledger.finish(ledger.claim(1.0).unit_id, Outcome(parts=(Part(0, 0, 9), Part(5, 9, 18))))
    bad, late = ledger.claim(1.0), ledger.claim(1.0)
    assert ledger.finish(bad.unit_id, Outcome(failed="damaged", exit_code=3))
    assert not ledger.finish(late.unit_id, DONE)
    assert not ledger.crashed(late.unit_id, "x", 1)
    assert (ledger.counts()["failed"], ledger.waiting()) == (1, 0)


def test_a_part_that_is_not_exact_sends_the_video_back_as_a_whole(ledger):
    ledger.begin({}, entries(1))
    ledger.finish(ledger.claim(1.0).unit_id, Outcome(parts=(Part(0, 0, 9), Part(5, 9, 18))))
    ledger.finish(ledger.claim(1.0).unit_id, Outcome(exact=False))
    whole = ledger.claim(1.0)
    assert (whole.number, whole.may_cut, whole.parts) == (WHOLE, False, ())


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from seqdet.runs.corpus_ledger import Ledger\n"
        "from seqdet.runs.corpus_manifest import Entry\n"
        "with Ledger(Path(sys.argv[1])) as ledger:\n"
        "    ledger.begin({}, [Entry(1, '/a', 'a'), Entry(2, '/b', 'b')]); ledger.claim(1.0)\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "held\n"
            with pytest.raises(UsageError, match="another run works"):
                Ledger(tmp_path)
            os.kill(first.pid, signal.SIGKILL)
            first.wait(10)
        finally:
            first.kill()
    with Ledger(tmp_path) as ledger:
        assert (ledger.counts()["running"], ledger.counts()["pending"]) == (1, 1), "what was noted is there"
        assert ledger.recover() == 1


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_ledger_is_named(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Ledger(Path(tmp_path))
