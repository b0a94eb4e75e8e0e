"""No command asks the network for anything, and neither does what it is built on: nothing is reported home.

Sockets are watched twice: in Python by an audit hook (``watched/sitecustomize.py``, which also refuses), and
from outside by strace, which sees native libraries too. SEQDET_NETWORK=all tries every command.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import Commands

from seqdet.runs.step_graph import installed
from seqdet.video.writer import VideoWriter

WATCHED = Path(__file__).parent / "watched"
SAMPLE = Path(__file__).resolve().parents[2] / "sample_videos" / "airspace_thermal.mp4"
EVERYTHING = os.environ.get("SEQDET_NETWORK") == "all"
STRACE = shutil.which("strace")
TINY = [
    "model.encoder=resnet10",
    "model.levels=[16]",
    "model.channels=8",
    "model.clip_width=8",
    "model.track_width=8",
    "model.input_size_wh=[64, 64]",
    "train.steps=2",
    "train.warmup_steps=1",
    "train.threads=1",
    "train.evaluate_clips=1",
    "train.evaluate_frames=4",
    "train.stages=[{name: clips, share: 1, frames_per_clip: 2, clips_per_batch: 2, augment: true}]",
    "data.workers=0",
]
OUTWARD = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")


class Watched:
    """Commands without a network, and what they tried all the same."""

    def __init__(self, commands: Commands, folder: Path, attempts: Path, calls: Path) -> None:
        self._commands, self.folder = commands, folder
        self._attempts, self._calls, self._seen = attempts, calls, 0

    def tried(self, *arguments: str | Path, code: int = 0, patch: str = "") -> str:
        """How a command that ends with ``code`` asked for the network: what each of the two saw."""
        said = self.folder / "said.txt"
        said.unlink(missing_ok=True)
        pid = self._commands.start(*arguments, output=said, patch=patch)
        assert self._commands.wait(pid) == code, said.read_text()
        asked = self._attempts.read_text() if self._attempts.exists() else ""
        self._attempts.unlink(missing_ok=True)
        calls = self._calls.read_bytes()[self._seen :] if STRACE else b""
        self._seen += len(calls)
        return asked + "\n".join(line for line in calls.decode().splitlines() if OUTWARD.search(line))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """With a home, and without what tells a library that these are only tests."""
    assert STRACE or not os.environ.get("CI"), "CI has strace"
    folder = tmp_path_factory.mktemp("watched")
    attempts, calls = folder / "attempts.txt", folder / "calls.txt"
    tracer = [STRACE, "-f", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", calls]
    (folder / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "NNCF_CI", "TF_BUILD", "JENKINS_URL", "NO_ALBUMENTATIONS_UPDATE"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("SEQDET_ATTEMPTS", str(attempts))
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, [WATCHED, SAMPLE.parents[1]])))
        with Commands(tracer=tracer if STRACE else ()) as commands:
            yield Watched(commands, folder, attempts, calls)
    assert not (folder / "home" / "intel").exists(), "no number under which somebody is counted"


def test_the_watch_sees(watched: Watched) -> None:
    """A control: both see who asks, though the caller swallows that it was refused."""
    swallow = "import av, contextlib, socket\nwith contextlib.suppress(OSError): "
    asked = watched.tried("--version", patch=f"{swallow}socket.create_connection(('192.0.2.1', 9))")
    assert "create_connection" in asked
    if STRACE:
        natively = watched.tried("--version", patch=f"{swallow}av.open('tcp://127.0.0.1:9')")
        assert "connect(" in natively


@pytest.fixture(scope="module")
def made(watched: Watched) -> Path:
    """A folder of what the commands work on: a source to ingest."""
    folder = watched.folder / "made"
    (folder / "source").mkdir(parents=True)
    lines = ["video,frame,track_id,label,left,top,width,height"]
    for clip in range(4):
        with VideoWriter(folder / "source" / f"{clip}.mp4", size_wh=(64, 48), fps_hint=25) as writer:
            for frame in range(12):
                picture = np.random.default_rng(clip).integers(60, 120, (48, 64, 3), np.uint8)
                picture[10:18, 10 + 2 * frame : 18 + 2 * frame] = 250
                writer.write(picture, frame / 25)
                lines.append(f"{clip}.mp4,{frame},0,bird,{10 + 2 * frame},10,8,8")
    (folder / "source" / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "list.txt").write_text(f"{folder / 'source' / '1.mp4'}\n")
    return folder


def test_no_command_asks_the_network(watched: Watched, made: Path) -> None:
    """One after the other, each on what the ones before have made."""
    data, run, rows = made / "data", made / "run", made / "rows.jsonl"
    settings = [word for text in TINY for word in ("--set", text)]
    for arguments in [
        ["--version"],
        ["doctor", "--device", "cpu"],
        ["ingest", made / "source", data],
        ["check", data],
        ["preview", data, "--out", made / "a.png"],
        ["train", data, "--out", run, "--device", "cpu", *settings],
        ["eval", data, "--model", run, "--out", made / "report"],
        ["detect", SAMPLE, "--max-frames", "4", "--out", made / "a.mp4", "--save", rows],
        ["convert", rows, made / "mot", "--to", "mot"],
    ]:
        assert watched.tried(*arguments) == "", arguments


@pytest.mark.skipif(not installed("openvino") and not os.environ.get("CI"), reason="no OpenVINO here")
def test_openvino_does_not_report_its_use(watched: Watched, made: Path, model_path: Path) -> None:
    """It tells its makers of every import and every graph, unless its messenger cannot be imported."""
    graph = made / "graph"
    assert watched.tried("export", model_path, "--to", "openvino", "--out", graph) == ""
    assert watched.tried("detect", SAMPLE, "--max-frames", "2", "--model", graph) == ""


@pytest.mark.skipif(not EVERYTHING, reason="SEQDET_NETWORK=all tries these as well")
def test_nor_do_the_slow_ones(watched: Watched, made: Path, model_path: Path) -> None:
    corpus = ["detect", "--corpus", made / "list.txt", "--out-dir", made / "corpus", "--model", model_path]
    few, gate = ["--max-frames", "20"], ["--gate", made / "data", "--limit", "1", "--max-frames", "4"]
    assert watched.tried(*corpus, "--workers", "1") == ""
    assert watched.tried("export", model_path, "--to", "torch", "--out", made / "torch") == ""
    assert watched.tried("export", model_path, "--to", "onnx", "--out", made / "onnx") == ""
    assert (
        watched.tried("export", made / "run", "--to", "openvino", "--int8", *gate, "--out", made / "int8")
        == ""
    )
    assert watched.tried("explain", "airspace", SAMPLE, *few, "--out", made / "explained") == ""
    assert watched.tried("bench", model_path, "--frames", "8", "--runs", "1") == ""
    assert watched.tried("synth", made / "rendered", "--sequences", "2", "--frames", "8") == ""
