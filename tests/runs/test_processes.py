"""Processes of one training find each other, whoever was killed before in their places."""

from __future__ import annotations

import os
import threading

import pytest
from torch.distributed import HashStore

from seqdet.runs import processes


def test_they_agree_on_a_word_that_nobody_before_them_had():
    """One store for all attempts, as under torchrun; what the killed have left there is still to be read."""
    store = HashStore()
    store.set("seqdet/hello/2", "killed before it found itself")
    words = []
    for _ in range(3):
        found: dict[int, str] = {}
        members = [
            threading.Thread(target=lambda rank=rank, found=found: found.update({rank: _word(store, rank)}))
            for rank in (2, 0, 1)
        ]
        for member in members:
            member.start()
        for member in members:
            member.join(60)
        assert len(found) == 3
        words += set(found.values())
    assert len(set(words)) == len(words) == 3


def _word(store: HashStore, rank: int) -> str:
    return processes._agreed(store, rank, 3)


def test_only_the_torchrun_that_began_a_run_goes_on_in_it(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert processes.launcher() == ""
    (tmp_path / processes.LAUNCHER).write_text("")
    assert not processes.was_started_here(tmp_path), "nobody has launched this process"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    assert str(os.getppid()) in processes.launcher()
    assert not processes.was_started_here(tmp_path)
    (tmp_path / processes.LAUNCHER).write_text(f"one elsewhere 1 2\n{processes.launcher()}")
    assert processes.was_started_here(tmp_path), "one of two machines that began it"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    assert not processes.was_started_here(tmp_path)
    assert not processes.was_started_here(tmp_path / "none")


@pytest.mark.parametrize(("kept", "goes_on"), [(True, True), (False, False)])
def test_what_its_own_torchrun_has_begun_is_no_other_run(tmp_path, monkeypatch, kept, goes_on):
    """Killed before the first state was there it begins again; it does not ask for an empty folder."""
    from seqdet.runs import train

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    run = tmp_path / "run"
    run.mkdir()
    (run / processes.LAUNCHER).write_text(processes.launcher())
    (run / "config.yaml").write_text("{}")
    if kept:
        (run / "state.safetensors").write_text("a state")
    seen = []
    monkeypatch.setattr(train, "_train_detector", lambda data, config, run, resume, *_: seen.append(resume))
    train.train(tmp_path, out=run)
    assert seen == [goes_on]
    assert run.exists() == kept
