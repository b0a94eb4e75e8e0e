"""What may not be in a product is not among what seqdet needs, and the page of licences tells the truth."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import licences  # noqa: E402


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND Zlib", True),
        ("EPL-2.0 OR BSD-3-Clause", True),
        ("MPL-2.0 AND MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND LGPL-3.0-only", False),
        ("AGPL-3.0-only OR LicenseRef-Commercial", False),
        ("", False),
    ],
)
def test_an_expression(expression: str, may: bool) -> None:
    assert licences.is_allowed(expression) is may


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("License: BSD 3-Clause License\n        with all its words", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("License: GNU Lesser General Public License v3", "LGPL"),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "AGPL"),
        ("License: GPLv3", "GPL"),
        ("License-Expression: MIT\nLicense: GPL", "MIT"),
        ("License: free as in beer", ""),
    ],
)
def test_what_packages_say_of_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, licence: str
) -> None:
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: somebodys\nVersion: 1.0\n{said}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert licences.licence_of("somebodys") == licence
    assert licences.licence_of("nobodys") == "not installed"


def test_an_x264_in_another_wheel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: somebodys\nVersion: 1.0\n")
    (info / "RECORD").write_text("somebodys.libs/libx264-d6533a8d.so.165,,\nsomebodys.libs/libpng.so,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert licences.bundled("somebodys") == ("libx264",)
    entry = licences.Entry("somebodys", "MIT", ("seqdet",), True, ("libx264",))
    assert not entry.may_be_used
    assert entry._replace(name="av").may_be_used


def test_all_that_is_needed_may_be_used() -> None:
    """What an extra brings may be missing here; CI has the rest, and what is required is everywhere."""
    found = [entry for entry in licences.entries() if entry.licence != "not installed"]
    assert [entry for entry in found if not entry.may_be_used] == []
    assert {"torch", "av", "numpy", "safetensors"} <= {entry.name for entry in found}


def test_the_page_lists_what_pyproject_names() -> None:
    """Others come and go with releases that are not ours. Mend: licences.py --write docs/licences.md."""
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    listed = dict(re.findall(r"\| \*\*(\S+)\*\* \| ([^|;]+?)(?:; [^|]*)? \|", page))
    direct = {entry.name: entry.licence for entry in licences.entries() if entry.direct}
    assert listed.keys() == direct.keys()
    here = {name for name, licence in direct.items() if licence != "not installed"}
    assert {name: listed[name] for name in here} == {name: direct[name] for name in here}
