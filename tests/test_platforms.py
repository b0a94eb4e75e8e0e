"""What other systems lack is not needed: Windows has no fcntl, fork or SIGHUP, macOS no mallopt.

Neither is here, so that what they lack is taken away: in a process of its own, before seqdet is imported.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from seqdet.model.conv_cells import ConvGRU, ConvLSTM
from seqdet.model.lstm import BottleneckConvLSTM, PeepholeLSTM

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = """
import ctypes, importlib, json, os, pkgutil, signal, socket, sys
import multiprocessing.connection, subprocess, uvicorn, fastapi  # what these use is their own affair
import av, albumentations, blosc, cv2, faster_coco_eval, matplotlib, pydantic, scipy.optimize, supervision
import torch.utils.data, torchvision, typer

for name in ("fcntl", "resource", "termios", "pwd", "grp", "syslog"):
    sys.modules[name] = None
for module, names in {
    signal: ["SIGHUP", "SIGALRM", "SIGUSR1", "SIGPIPE", "alarm", "setitimer"],
    os: "fork forkpty getuid geteuid getpgid killpg setsid sysconf sched_getaffinity getloadavg uname".split()
    + ["O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "mkfifo", "nice", "statvfs"],
    socket: ["TCP_USER_TIMEOUT", "AF_UNIX", "SO_REUSEPORT"],
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


class NoLibrary:
    def __init__(self, name, *_, **__):
        raise TypeError("LoadLibrary() argument 1 must be str, not None")


sys.platform, ctypes.CDLL = "win32", NoLibrary
import seqdet

for found in pkgutil.walk_packages(seqdet.__path__, "seqdet."):
    if found.name != "seqdet.__main__":
        importlib.import_module(found.name)
sys.argv = ["seqdet", *json.loads(sys.argv[1])]
from seqdet.cli.app import main

main()
"""


def test_every_module_and_a_whole_command_do_without(make_video, model_path: Path, tmp_path: Path) -> None:
    command = ["detect", make_video("sky.mp4"), "--model", model_path, "--runtime", "torch", "--json"]
    command += ["--out", tmp_path / "out.mp4", "--save", tmp_path / "rows.jsonl"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps([str(word) for word in command])],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    (source,) = json.loads(ran.stdout)["sources"]
    assert source["frames"] == source["decoded"] == 10
    assert {path.name for path in tmp_path.iterdir()} == {"sky.mp4", "out.mp4", "rows.jsonl"}


def test_other_processes_are_started_afresh() -> None:
    """Forks of a process with threads hang, and Windows has none: spawn is asked for by its name."""
    for path in sorted((ROOT / "seqdet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            where = f"{path.relative_to(ROOT)}:{node.lineno}: {called}"
            if called.endswith("get_context"):
                assert [ast.literal_eval(argument) for argument in node.args] == ["spawn"], where
            if called.endswith("ProcessPoolExecutor"):
                assert "mp_context" in {keyword.arg for keyword in node.keywords}, where
            assert called not in ("multiprocessing.Process", "multiprocessing.Pool", "os.fork"), where


def test_text_has_its_letters_named() -> None:
    """Windows would take letters of its own where UTF-8 is not asked for."""
    for path in sorted((ROOT / "seqdet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            owner, _, called = (ast.unparse(node.func) if isinstance(node, ast.Call) else "").rpartition(".")
            if owner == "av" or called not in ("open", "read_text", "write_text"):
                continue
            named = {word.arg for word in node.keywords} & {"encoding", None}
            given = [ast.unparse(argument) for argument in node.args]
            is_text = called != "open" or any(mode in given for mode in ("'r'", "'w'", "'a'", "'x'"))
            letters = len(given) > {"read_text": 0, "write_text": 1, "open": 9}[called]
            assert named or letters or not is_text, f"{path}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="there is no Apple GPU here")
@pytest.mark.parametrize("cell", [PeepholeLSTM, BottleneckConvLSTM, ConvLSTM, ConvGRU])
def test_cells_on_an_apple_gpu_say_what_they_say_on_a_processor(cell: type[nn.Module]) -> None:
    torch.manual_seed(0)
    of_maps = cell is not PeepholeLSTM
    here = (cell(8) if of_maps else cell(8, 8)).eval()
    there = copy.deepcopy(here).to("mps")
    pictures = torch.randn(2, 5, 8, 6, 7) if of_maps else torch.randn(2, 5, 8)
    shape = (2, 6, 7) if of_maps else (2,)
    with torch.no_grad():
        wanted, last = here(pictures, here.initial_state(*shape))
        got, last_there = there(pictures.to("mps"), there.initial_state(*shape))
    for one, other in ((wanted, got), (last.hidden, last_there.hidden), (last.cell, last_there.cell)):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-4, atol=1e-5)
