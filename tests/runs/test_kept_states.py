"""States on disk: after a kill, on a full disk, with a bad sector, the newest whole one is found."""

from __future__ import annotations

import os
import random
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seqdet.errors import InputError, OutputError
from seqdet.runs.kept_states import NEWEST, Writer, has_state, keep_state, newest_state, remove_partial


def state(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((40, 5), float(step)), "moment": torch.arange(7) + step}


def keep(folder: Path, step: int, count: int = 3) -> None:
    keep_state(folder, state(step), {"version": 2, "step": step}, count)


def found(folder: Path) -> int:
    """The step of the newest whole state, after a look at all its numbers."""
    kept = newest_state(folder, lambda document: document.get("version") == 1)
    step = kept.document["step"]
    assert kept.tensors.keys() == state(step).keys()
    assert all(torch.equal(kept.tensors[name], value) for name, value in state(step).items())
    return step


def steps_kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_ones_are_kept(tmp_path: Path):
    assert not has_state(tmp_path)
    for step in range(1, 6):
        keep(tmp_path, step)
        assert found(tmp_path) == step
    assert steps_kept(tmp_path) == ["state.1.safetensors", "state.2.safetensors", NEWEST]
    keep(tmp_path, 6, count=1)
    assert steps_kept(tmp_path) == [NEWEST]
    assert found(tmp_path) == 6


def damaged(data: bytes) -> Iterator[bytes]:
    """64 cuts and 200 flips of a bit, a third of them in the header."""
    rng = random.Random(0)
    header = 8 + int.from_bytes(data[:8], "little")
    for number in range(64):
        yield data[: len(data) * number // 64]
    for number in range(200):
        place = rng.randrange(header if number % 3 == 0 else len(data))
        yield data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def test_a_damaged_state_is_never_loaded(tmp_path: Path):
    keep(tmp_path, 1)
    keep(tmp_path, 2)
    data, older = (tmp_path / NEWEST).read_bytes(), (tmp_path / "state.1.safetensors").read_bytes()
    for wrong in damaged(data):
        (tmp_path / "state.1.safetensors").write_bytes(older)
        (tmp_path / NEWEST).write_bytes(wrong)
        kept = newest_state(tmp_path, lambda document: document.get("version") == 1)
        assert kept.document["step"] == 1
        assert len(kept.damaged) == 1
        assert NEWEST in kept.damaged[0], "which one is said"
        assert (tmp_path / "state.damaged.safetensors").read_bytes() == wrong, "it is put aside"
    (tmp_path / "state.1.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="no state is whole") as caught:
        newest_state(tmp_path, lambda document: False)
    assert caught.value.exit_code == 3


def test_only_a_state_of_before_has_no_sha256(tmp_path: Path):
    """What was written by other means passes for a state of an older version only."""
    save_file(state(1), tmp_path / NEWEST, {"seqdet": '{"version": 1, "step": 1}'})
    assert found(tmp_path) == 1
    save_file(state(1), tmp_path / NEWEST, {"seqdet": '{"version": 2, "step": 1}'})
    with pytest.raises(InputError, match="SHA-256 is missing"):
        found(tmp_path)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, so that nothing is tidied up."""


@contextmanager
def killed_at_call(number: int) -> Iterator[list[str]]:
    """Every change of a file counts; the one of that number does not happen, nor do those after it."""
    done: list[str] = []

    def counted(name, whole):
        def call(*arguments, **options):
            if len(done) == number:
                raise Killed
            done.append(name)
            return whole(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in ((os, ("fsync", "open")), (Path, ("open", "replace", "unlink", "mkdir"))):
            for name in names:
                patch.setattr(owner, name, counted(name, getattr(owner, name)))
        yield done


def test_killed_anywhere_in_a_save_the_newest_whole_one_is_there(tmp_path: Path):
    number = 0
    while True:
        folder = tmp_path / str(number)
        for step in range(1, 5):
            keep(folder, step)
        try:
            with killed_at_call(number):
                keep(folder, 5)
        except Killed:
            assert found(folder) in (4, 5), f"killed at change {number}"
        else:
            break
        keep(folder, 6)
        assert found(folder) == 6, "saving again does not collide with what was left"
        remove_partial(folder)
        assert steps_kept(folder) == ["state.1.safetensors", "state.2.safetensors", NEWEST]
        number += 1
    assert number > 6, "there are that many changes in a save"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes: as on a full disk, a write comes back short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 10, 500, 1000])
def test_on_a_full_disk_the_last_state_is_whole(tmp_path: Path, size: int):
    keep(tmp_path, 1)
    assert size < (tmp_path / NEWEST).stat().st_size
    with (
        largest_file(size),
        pytest.raises(OutputError, match=r"could not be written: File too large") as caught,
    ):
        keep(tmp_path, 2)
    assert caught.value.exit_code == 6
    assert found(tmp_path) == 1
    assert steps_kept(tmp_path) == [NEWEST]


def test_the_writer_does_one_thing_at_a_time_and_hands_its_error_on():
    gate, order = threading.Event(), []
    with Writer() as writer:
        assert writer.is_free()
        writer.start(lambda: (gate.wait(), order.append("first")))
        assert not writer.is_free(), "the loop is not held up, it saves later"
        gate.set()
        writer.start(lambda: order.append("second"))
        writer.wait()
        assert order == ["first", "second"]

        def fail() -> None:
            raise OutputError("full")

        writer.start(fail)
        with pytest.raises(OutputError, match="full"):
            writer.wait()
        assert writer.is_free(), "an error is said once"
        writer.start(lambda: order.append("last"))
    assert order[-1] == "last", "leaving waits for what was begun"
