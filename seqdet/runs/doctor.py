"""Proves that what seqdet stands on works here, and says how to repair what does not.

Each check tries the thing itself: a video is written and read back, the model is loaded. Nothing is
installed and nothing outside a temporary folder is written.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from seqdet import __version__
from seqdet.errors import SeqdetError

Status = Literal["ok", "warn", "fail"]
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
VERSIONS = ("torch", "torchvision", "opencv-python", "av", "albumentations", "numpy", "supervision")
LITTLE_DISK_BYTES = 1_000_000_000
NO_DISK_BYTES = 50_000_000
REINSTALL = "install seqdet in a fresh environment"
SHIPPED_MODEL = "airspace"
PROBE_FRAMES = 8
PROBE_SIZE_WH = (64, 48)
PROBE_FPS = 25


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: what was checked.
        status: "ok", "warn" (works, but will bite) or "fail" (seqdet cannot do its work here).
        detail: what was found.
        repair: what to do about it; "" when nothing needs doing.
    """

    name: str
    status: Status
    detail: str
    repair: str = ""


def diagnose(*, device: str = "auto", folder: Path | None = None) -> list[CheckResult]:
    """Run every check, in the order in which one depends on the other.

    Args:
        device: where the model is to run, as for ``detect``.
        folder: where output is to go; the current folder when not given.

    Returns:
        One result a check. A check that breaks is a failed check, not an error.
    """
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("versions", check_versions),
        ("opencv", check_opencv),
        ("encode", check_encode),
        ("decode", check_decode),
        ("device", lambda: check_device(device)),
        ("model", check_model),
        ("disk", lambda: check_disk(folder or Path())),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """A broken installation shows itself by any of these errors, and one must not hide the other checks."""
    try:
        return check()
    except SeqdetError as error:
        return CheckResult(name, "fail", str(error), REINSTALL)
    except (ImportError, AttributeError, OSError, RuntimeError, metadata.PackageNotFoundError) as error:
        return CheckResult(name, "fail", f"{type(error).__name__}: {error}", REINSTALL)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_versions() -> CheckResult:
    """The versions of what is installed; for bug reports."""
    parts = [f"seqdet {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{package} {version}" for package in VERSIONS if (version := _version(package))]
    return CheckResult("versions", "ok", ", ".join(parts))


def check_opencv() -> CheckResult:
    """Exactly one OpenCV package: all install into the same ``cv2`` folder and overwrite each other."""
    found = {package: version for package in OPENCV_PACKAGES if (version := _version(package))}
    listed = ", ".join(f"{package} {version}" for package, version in found.items())
    if len(found) > 1:
        return CheckResult(
            "opencv",
            "warn",
            f"{len(found)} packages share one cv2 folder, the last one installed has won: {listed}",
            _opencv_repair(found),
        )
    if not found:
        return CheckResult("opencv", "fail", "no OpenCV package is installed", _opencv_repair(()))
    return CheckResult("opencv", "ok", listed)


def _opencv_repair(installed: Iterable[str]) -> str:
    """Remove all and install one: removing only one of two deletes the files that they share.

    The commands name this interpreter, so that they repair the environment that was examined.
    """
    if importlib.util.find_spec("pip"):
        remove, install = f"{sys.executable} -m pip uninstall -y", f"{sys.executable} -m pip install"
    else:  # uv makes environments without pip
        remove = f"uv pip uninstall --python {sys.executable}"
        install = f"uv pip install --python {sys.executable}"
    removal = f"{remove} {' '.join(installed)} && " if installed else ""
    return f'{removal}{install} --no-deps "opencv-python<5"'


def check_encode() -> CheckResult:
    """H.264 can be written."""
    from seqdet.video.writer import encoder_name

    name = encoder_name()
    if name == "mpeg4":
        return CheckResult(
            "encode",
            "warn",
            "no H.264 encoder in PyAV: mpeg4 is used, which browsers do not play",
            "pip install --force-reinstall av",
        )
    return CheckResult("encode", "ok", f"H.264 by {name}")


def check_decode() -> CheckResult:
    """A video that is written here reads back: all frames, the same pictures, the same times."""
    from seqdet.video.reader import open_video
    from seqdet.video.writer import VideoWriter

    width, height = PROBE_SIZE_WH
    levels = np.linspace(40, 215, PROBE_FRAMES)
    with tempfile.TemporaryDirectory(prefix="seqdet-doctor-") as folder:
        path = Path(folder) / "probe.mp4"
        with VideoWriter(path, size_wh=PROBE_SIZE_WH, fps_hint=PROBE_FPS) as writer:
            for index, level in enumerate(levels):
                writer.write(np.full((height, width, 3), level, np.uint8), index / PROBE_FPS)
        with open_video(path) as reader:
            frames = list(reader)
    if len(frames) != PROBE_FRAMES:
        return CheckResult(
            "decode",
            "fail",
            f"wrote {PROBE_FRAMES} frames, read {len(frames)}",
            _opencv_repair(OPENCV_PACKAGES[:2]),
        )
    picture_error = max(abs(float(f.rgb.mean()) - level) for f, level in zip(frames, levels, strict=True))
    time_error_s = max(abs(frame.time_s - frame.index / PROBE_FPS) for frame in frames)
    if picture_error > 6 or time_error_s > 1e-3:
        detail = f"{PROBE_FRAMES} frames read back wrong: by {picture_error:.1f} of 255, {time_error_s:.4f} s"
        return CheckResult("decode", "fail", detail, _opencv_repair(OPENCV_PACKAGES[:2]))
    return CheckResult("decode", "ok", f"{PROBE_FRAMES} frames written and read back")


def check_device(device: str) -> CheckResult:
    """Where the model runs, proved by one product of matrices."""
    import torch

    from seqdet.runs.device import choose_device

    chosen = choose_device(device)
    ones = torch.ones((8, 8), device=chosen)
    if float((ones @ ones).sum()) != 512:
        return CheckResult("device", "fail", f"{chosen} computes wrong results", "try --device cpu")
    if chosen.type == "cuda":
        return CheckResult("device", "ok", f"{chosen}: {torch.cuda.get_device_name(chosen)}")
    cuda = "CUDA is there, too" if torch.cuda.is_available() else "no CUDA"
    return CheckResult("device", "ok", f"{chosen}, {torch.get_num_threads()} threads; {cuda}")


def check_model() -> CheckResult:
    """The model that ships with the package loads."""
    from seqdet.runs.shipped import find_model
    from seqdet.runs.stream import load

    classes = load(SHIPPED_MODEL, "cpu").classes
    size_mb = find_model(SHIPPED_MODEL).stat().st_size / 1e6
    return CheckResult("model", "ok", f"{SHIPPED_MODEL}: {', '.join(classes)}; {size_mb:.1f} MB")


def check_disk(folder: Path) -> CheckResult:
    """Room for output where the command is run."""
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free in {folder.resolve()}"
    if free < NO_DISK_BYTES:
        return CheckResult("disk", "fail", detail, "free some space, or write elsewhere with --out")
    if free < LITTLE_DISK_BYTES:
        return CheckResult("disk", "warn", detail, "free some space before a long run")
    return CheckResult("disk", "ok", detail)
