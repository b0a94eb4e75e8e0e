"""Doctor finds what is broken, names the repair, and one broken thing does not hide the others."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from seqdet.runs import doctor, shipped
from seqdet.types import Frame
from seqdet.video import reader, writer


@pytest.fixture
def installed(monkeypatch):
    """Pretend that exactly these packages are installed."""

    def pretend(**versions: str) -> None:
        known = {name.replace("_", "-"): version for name, version in versions.items()}

        def version(name: str) -> str:
            if name not in known:
                raise metadata.PackageNotFoundError(name)
            return known[name]

        monkeypatch.setattr(metadata, "version", version)

    return pretend


def by_name(results: list[doctor.CheckResult]) -> dict[str, doctor.CheckResult]:
    return {result.name: result for result in results}


def test_here_encoding_decoding_device_and_opencv_work():
    found = by_name(doctor.diagnose(device="cpu"))
    for name in ("versions", "opencv", "encode", "decode", "device"):
        assert found[name].status == "ok", found[name]
    assert "torch" in found["versions"].detail


def test_two_opencv_packages_are_found_and_the_repair_removes_both_before_it_installs_one(installed):
    installed(opencv_python="4.14.0.94", opencv_python_headless="5.0.0.93", numpy="2")
    found = doctor.check_opencv()
    assert found.status == "warn"
    assert "opencv-python 4.14.0.94, opencv-python-headless 5.0.0.93" in found.detail
    removal, _, installation = found.repair.partition(" && ")
    assert "uninstall" in removal
    assert removal.endswith("opencv-python opencv-python-headless")
    assert installation.endswith(' --no-deps "opencv-python<5"')


@pytest.mark.parametrize(
    ("versions", "status"),
    [
        ({"opencv_python": "4.14"}, "ok"),
        ({"opencv_python_headless": "4.14"}, "ok"),
        ({"opencv_contrib_python": "4.14"}, "ok"),
        ({"opencv_python": "4.14", "opencv_contrib_python_headless": "4.14"}, "warn"),
        ({}, "fail"),
    ],
)
def test_one_opencv_package_is_right(installed, versions, status):
    installed(**versions)
    found = doctor.check_opencv()
    assert found.status == status
    assert bool(found.repair) == (status != "ok")


@pytest.mark.parametrize("has_pip", [True, False])
def test_the_repair_uses_the_installer_that_is_there(installed, monkeypatch, has_pip):
    expected = f"{sys.executable} -m pip uninstall" if has_pip else "uv pip uninstall --python"
    installed(opencv_python="4", opencv_python_headless="4")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object() if has_pip else None)
    assert doctor.check_opencv().repair.split()[:4] == expected.split()


def test_frames_that_are_lost_or_changed_are_a_failure(monkeypatch):
    class Reader(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    black = [
        Frame(np.zeros((48, 64, 3), np.uint8), i, i / doctor.PROBE_FPS) for i in range(doctor.PROBE_FRAMES)
    ]
    for frames, said in [(black[:-1], "read 7"), (black, "read back wrong")]:
        monkeypatch.setattr(reader, "open_video", lambda path, frames=frames: Reader(frames))
        found = doctor.check_decode()
        assert (found.status, said in found.detail) == ("fail", True), found
        assert found.repair


def test_an_encoder_that_browsers_do_not_play_is_a_warning(monkeypatch):
    monkeypatch.setattr(writer, "encoder_name", lambda: "mpeg4")
    assert doctor.check_encode().status == "warn"


def test_a_device_that_is_not_there_is_a_failure():
    found = by_name(doctor.diagnose(device="cuda:99"))
    assert found["device"].status == "fail"
    assert "cuda:99" in found["device"].detail
    assert found["decode"].status == "ok", "the other checks still ran"


@pytest.mark.parametrize(
    "error", [ImportError("libGL.so.1"), AttributeError("VideoCapture"), OSError("full")]
)
def test_a_broken_library_is_a_failed_check_and_not_a_traceback(monkeypatch, error):
    def broken() -> None:
        raise error

    monkeypatch.setattr(doctor, "check_decode", broken)
    found = by_name(doctor.diagnose(device="cpu"))
    assert found["decode"].status == "fail"
    assert str(error) in found["decode"].detail
    assert found["device"].status == "ok"


@pytest.mark.parametrize(("free", "status"), [(10**11, "ok"), (5 * 10**8, "warn"), (10**6, "fail")])
def test_a_full_disk_is_said(monkeypatch, tmp_path, free, status):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    found = doctor.check_disk(tmp_path)
    assert (found.status, str(tmp_path) in found.detail) == (status, True)


def test_a_shipped_model_that_is_cut_or_missing_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "SHIPPED_FOLDER", tmp_path)
    assert by_name(doctor.diagnose(device="cpu"))["model"].status == "fail"
    (tmp_path / "airspace.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    found = by_name(doctor.diagnose(device="cpu"))["model"]
    assert (found.status, bool(found.repair)) == ("fail", True)
    assert "airspace.safetensors" in found.detail
