"""``seqdet detect --corpus`` as a command: its contract, and Ray where it is wanted."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build


def detect(*arguments: object):
    return CliRunner().invoke(build(), ["detect", *map(str, arguments)])


@pytest.fixture
def manifest(make_video, tmp_path) -> Path:
    make_video("a.mp4", frames=5)
    make_video("b.mp4", frames=9)
    path = tmp_path / "list.txt"
    path.write_text("a.mp4\nb.mp4\nmissing.mp4\n")
    return path


def options(manifest: Path, model: Path, *more: object) -> list[object]:
    given = [
        "--corpus",
        manifest,
        "--model",
        model,
        "--score",
        "0.001",
        "--runtime",
        "torch",
        "--device",
        "cpu",
    ]
    return [*given, "--workers", 1, *more]


def test_json_and_exit_code_of_a_corpus_done_in_part(manifest, model_path, tmp_path):
    ran = detect(*options(manifest, model_path, "--out-dir", tmp_path / "out", "--json", "--annotate"))
    assert ran.exit_code == 4, ran.stderr
    report = json.loads(ran.stdout)["corpus"]
    assert (report["entries"], report["done"], report["failed"], report["frames"]) == (3, 2, 1, 14)
    assert f"{manifest}:3: missing.mp4: no such file" in ran.stderr
    assert sorted(path.suffix for path in (tmp_path / "out").glob("rows/*/*")) == sorted(
        [".jsonl", ".mp4", ".parquet"] * 2
    )
    assert json.loads((tmp_path / "out/summary.json").read_text()) == report


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--corpus", "list.txt"], "--out-dir"),
        (["--out-dir", "out"], "--corpus"),
        (["a.mp4", "--corpus", "list.txt", "--out-dir", "out"], "SOURCE"),
        (["--corpus", "list.txt", "--out-dir", "out", "--out", "x.mp4"], "--out"),
        (["--corpus", "list.txt", "--out-dir", "out", "--address", "h:1"], "--engine ray"),
        ([], "SOURCE"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    ran = detect(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert word in ran.stderr
    assert not (tmp_path / "out").exists()


def test_without_ray_it_is_the_line_that_installs_it(manifest, model_path, tmp_path, monkeypatch):
    from importlib import util

    found = util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else found(name))
    ran = detect(*options(manifest, model_path, "--out-dir", tmp_path / "out", "--engine", "ray"))
    assert ran.exit_code == 5
    assert "pip install 'seqdet[cluster]'" in ran.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_one_line_and_loses_nothing(
    manifest, model_path, tmp_path, address
):
    if find_spec("ray") is None:  # nor imported before the command, which says how
        pytest.skip("needs ray")
    given = options(manifest, model_path, "--out-dir", tmp_path / "out")
    ran = detect(*given, "--engine", "ray", "--address", address)
    assert ran.exit_code == 2, ran.stderr
    assert f"--address {address}" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    if address == "nonsense":
        assert json.loads(detect(*given, "--json").stdout)["corpus"]["done"] == 2, "the same folder goes on"


@pytest.mark.skipif(
    not (os.environ.get("CI") or os.environ.get("SEQDET_RAY")),
    reason="starts Ray, a minute of a busy machine: SEQDET_RAY=1 runs it, CI does",
)
def test_ray_gives_what_processes_give(manifest, model_path, tmp_path):
    rows = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        ran = detect(*options(manifest, model_path, "--out-dir", out, "--engine", engine, "--quiet"))
        assert ran.exit_code == 4, ran.stderr
        rows.append({path.name: path.read_bytes() for path in out.glob("rows/*/*")})
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4
    # `uv run` before Ray: its workers are of this environment, not of a second one laid out for them.
    assert not Path(os.environ["XDG_CACHE_HOME"], "uv").exists()
