"""The face: help, version, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types

import pytest
import typer
from typer.testing import CliRunner

from seqdet import __version__
from seqdet.cli import app as face
from seqdet.errors import InputError, MissingDependencyError, OutputError, PartialInputError, UsageError

OPTIONS = {
    "bench": "--source --runtime --sizes --frames --runs --device --out --force",
    "detect": "--out --save --model --device --runtime --score --max-frames --force",
    "live": "--view --host --port --token --name --folder --loop --save --webhook --mqtt --model --device "
    "--score --max-frames --max-seconds --force",
    "train": "--config --out --set --resume --device",
    "tune": "--config --out --trials --minutes --over --prune --set --from --seed --device",
    "eval": "--model --split --where --limit --max-frames --controls --no-controls --out --device",
    "export": "--to --out --int8 --bf16 --clip --gate --limit --max-frames --force",
    "explain": "--track --frame --box --sequence --list --why --boxes --window --score "
    "--max-frames --out --force",
    "ingest": "--format --split --val-fraction --seed --link --strict --allow-leak --masks --force",
    "preview": "--out --config --set --stage --clips --columns --seed --force",
    "convert": "--to --videos --video --force",
    "check": "--fix --out --quick --force",
    "synth": "--task --sequences --frames --sensor --level --size --val-fraction --seed --force",
    "doctor": "--device",
}


def run(*arguments: str):
    return CliRunner().invoke(face.build(), list(arguments), prog_name="seqdet", env={"COLUMNS": "100"})


def command_that(action) -> typer.Typer:
    """The real face with one command of ours in it."""
    app = typer.Typer(cls=face.Face)
    app.callback()(face.root)
    app.command("act")(action)
    return app


def test_help_lists_the_commands_that_exist_and_no_other():
    shown = run("--help").stdout
    listed = [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()]
    assert sorted(listed) == sorted(OPTIONS)
    assert "..." not in shown.partition("Commands:")[2], "every summary fits its line"


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_a_command_names_its_options(command: str):
    ran = run(command, "--help")
    assert ran.exit_code == 0
    for option in [*OPTIONS[command].split(), "--json", "--quiet"]:
        assert f"{option} " in ran.stdout or f"{option}\n" in ran.stdout


def test_version():
    assert run("--version").stdout == f"seqdet {__version__}\n"


def test_completion_is_printed_for_a_shell():
    ran = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['seqdet']; from seqdet.cli.app import main; main()"],
        env={**os.environ, "_SEQDET_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "seqdet de"},
        capture_output=True,
        text=True,
    )
    assert "--show-completion" in run("--help").stdout
    assert "detect" in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["detect"],
        ["detect", "sky.mp4", "--outt", "x.mp4"],
        ["detect", "sky.mp4", "--score", "2"],
        ["detect", "sky.mp4", "--runtime", "magic"],
        ["detect", "sky.mp4", "--max-frames", "0"],
        ["eval", "data", "--where", "thermal"],
        ["train", "--set", "train.stepss=3"],
        ["train", "--config", "absent.yaml"],
        ["synth", "out", "--size", "big"],
        ["synth", "out", "--task", "cars"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr_only(arguments: list[str]):
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert "rror: " in ran.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("sky.mp4 exists; say --force"), 2),
        (InputError("sky.mp4: no such file"), 3),
        (PartialInputError("sky.mp4: 3 of 9 frames"), 4),
        (MissingDependencyError("pip install seqdet[onnx]"), 5),
        (OutputError("disk full"), 6),
    ],
)
def test_an_error_on_purpose_is_one_line_and_its_exit_code(error, code):
    def act() -> None:
        raise error

    ran = CliRunner().invoke(command_that(act), ["act"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (code, "", f"error: {error}\n")


def test_a_mistake_of_ours_keeps_its_traceback():
    def act() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(command_that(act), ["act"]).exception, ZeroDivisionError)


STOPPED = """
import signal, sys, time
import typer
from seqdet.cli import app as face

def act() -> None:
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        time.sleep(0.2)
        print("finalised", flush=True)

app = typer.Typer(cls=face.Face)
app.callback()(face.root)
app.command("act")(act)
app()
"""


@pytest.mark.parametrize(
    ("number", "code", "times"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGTERM, 143, 2), (signal.SIGHUP, 129, 1)],
)
def test_a_signal_lets_writers_finish(number: int, code: int, times: int):
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, "act"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may have been told to ignore it (nohup, a job in the background).
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(times):
            process.send_signal(number)
            if times > 1:
                # The second one must reach the program while it finalises.
                signal.sigtimedwait([], 0.1)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, "finalised\n")
    assert "Traceback" not in err
    assert "what was finished is kept" in err


def test_an_ignored_signal_stays_ignored():
    """As under nohup: the terminal may go, the run goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def act() -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            typer.echo("went on")

        assert CliRunner().invoke(command_that(act), ["act"]).stdout == "went on\n"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_leaves_is_no_traceback():
    code = "from seqdet.cli.common import show\nimport typer\napp = typer.Typer()\n"
    code += "@app.command()\ndef act():\n    [show('x' * 9999) for _ in range(99)]\napp()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == 141


def test_results_go_to_stdout_and_everything_else_to_stderr(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sky.mp4").write_bytes(b"\0\0\0\x18ftypmp42")  # begins as a video does
    report = types.SimpleNamespace(
        sources=[
            types.SimpleNamespace(
                source="sky.mp4",
                frames=9,
                decoded=8,
                detections=3,
                tracks=1,
                fps=25.0,
                seconds=0.3,
                out=None,
                label="drone",
                score=0.9,
                warnings=["one frame is missing"],
                error="frame 8 cannot be decoded",
            )
        ],
        exit_code=4,
    )
    asked = {}

    def detect_files(sources, **options):
        asked.update(options, sources=sources)
        options["progress"]("sky.mp4", 9, 9)
        return report

    fake = types.ModuleType("seqdet.runs.detect")
    fake.detect_files = detect_files  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "seqdet.runs.detect", fake)
    ran = run("detect", "sky.mp4", "--save", "a.jsonl", "--save", "b.csv", "--score", "0.5")
    assert ran.exit_code == 4
    assert [str(path) for path in asked["save"]] == ["a.jsonl", "b.csv"]
    assert (asked["sources"], asked["score"], asked["model"]) == (["sky.mp4"], 0.5, "airspace")
    assert ran.stdout.splitlines()[1].split() == ["sky.mp4", "9", "3", "1", "25.000", "drone", "0.900", "-"]
    assert "sky.mp4: 9/9 frames" in ran.stderr
    assert "warning: one frame is missing\n" in ran.stderr
    assert "error: frame 8 cannot be decoded\n" in ran.stderr
    quiet = run("detect", "sky.mp4", "--quiet")
    assert quiet.stderr == "error: frame 8 cannot be decoded\n"
