"""The fuzzer runs and finds nothing in a few hundred inputs; ten minutes of it are in docs/reliability.md."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "fuzz.py"


def test_a_few_hundred_inputs_are_read_or_refused(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        assert not (os.environ.get("CI") and sys.platform == "linux"), "CI has it"
        pytest.skip("atheris is not installed; it is for Linux")
    ran = subprocess.run(
        [sys.executable, str(TOOL), "all", "-runs=300", "-seed=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Done 300 runs" in ran.stderr
    assert list(tmp_path.iterdir()) == []
