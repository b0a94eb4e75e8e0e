"""An archive from anywhere writes nothing beyond its folder , whatever it declares."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seqdet.data import unpack as room
from seqdet.data.unpack import is_archive, unpack
from seqdet.errors import InputError, OutputError

Fill = Callable[[zipfile.ZipFile], None]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def archive(path: Path, fill: Fill, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        fill(file)
    return path


def named(*names: str) -> Fill:
    return lambda file: [file.writestr(name, b"x") for name in names]  # type: ignore[return-value]


def special(mode: int) -> Fill:
    def fill(file: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("entry")
        entry.external_attr = (mode | 0o644) << 16
        file.writestr(entry, b"/etc/passwd")

    return fill


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_what_went_in_comes_out(tmp_path: Path, method: int) -> None:
    wanted = {
        "a.xml": b"<a/>" * 1000,
        "deep/er/b.bin": bytes(range(256)) * 300,
        "empty": b"",
        "ünï/ö .txt": b"1",
    }

    def fill(file: zipfile.ZipFile) -> None:
        file.mkdir("images")
        for name, data in wanted.items():
            file.writestr(name, data)

    source = archive(tmp_path / "a.zip", fill, method)
    assert is_archive(source)
    (tmp_path / "out").mkdir()
    unpack(source, tmp_path / "out")
    assert {name: data for name, data in tree(tmp_path / "out").items() if data is not None} == wanted
    assert (tmp_path / "out" / "images").is_dir()


HOSTILE: dict[str, tuple[Fill, str]] = {
    "parent": (named("../out.txt"), "leads out"),
    "parent inside": (named("a/../../out.txt"), "leads out"),
    "parent of windows": (named("a\\..\\..\\out.txt"), "leads out"),
    "absolute": (named("/tmp/out.txt"), "leads out"),
    "two slashes": (named("//server/share/out.txt"), "leads out"),
    "drive": (named("C:/out.txt"), "leads out"),
    "drive relative": (named("C:out.txt"), "leads out"),
    "url": (named("file:///out.txt"), "leads out"),
    "dot dot": (named(".."), "leads out"),
    "no name": (named("/"), "leads out"),
    "symbolic link": (special(stat.S_IFLNK), "link or device"),
    "device": (special(stat.S_IFBLK), "link or device"),
    "characters": (special(stat.S_IFCHR), "link or device"),
    "pipe": (special(stat.S_IFIFO), "link or device"),
    "socket": (special(stat.S_IFSOCK), "link or device"),
    "a file as folder": (named("a", "a/b"), "cannot be unpacked"),
    "a folder as file": (named("a/b", "a"), "cannot be unpacked"),
    "long name": (named("x" * 300), "cannot be unpacked"),
    "bomb": (
        lambda file: file.writestr("a", bytes(room.HARMLESS_BYTES + 1)),
        "not unpacked. If you trust it",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_is_outside(tmp_path: Path, case: str) -> None:
    fill, says = HOSTILE[case]
    source = archive(tmp_path / "a.zip", fill)
    target = tmp_path / "deep" / "er" / "target"
    target.mkdir(parents=True)
    with pytest.raises(InputError, match=says) as caught:
        unpack(source, target)
    assert str(source) in str(caught.value)
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(target)}
    assert outside == {source, tmp_path / "deep", tmp_path / "deep" / "er"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip", named("labels.txt", "labels.txt"))
    with pytest.raises(InputError, match=r"'labels.txt': the name occurs twice"):
        unpack(source, tmp_path)
    assert list(tmp_path.iterdir()) == [source]


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip", named("../a", "fine", "/b"))
    with pytest.raises(InputError, match=r"(?s)\(2 problems\).*'../a'.*'/b'"):
        unpack(source, tmp_path)


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ENTRIES", 3)
    with pytest.raises(InputError, match="4 files are in it; at most 3"):
        unpack(archive(tmp_path / "a.zip", named(*"abcd")), tmp_path)


def test_no_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2})
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"takes 3 bytes; .* has 2 left"):
        unpack(archive(tmp_path / "a.zip", named(*"abc")), tmp_path)


def test_what_the_archive_declares_is_not_believed(tmp_path: Path) -> None:
    """A file longer than its entry says is a bomb that hides: no more is written than declared."""
    source = archive(tmp_path / "a.zip", lambda file: file.writestr("a", bytes(1 << 20)))
    data = source.read_bytes()
    assert data.count(struct.pack("<I", 1 << 20)) == 2
    source.write_bytes(data.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 10)))
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError):
        unpack(source, tmp_path / "target")
    assert sum(len(data or b"") for data in tree(tmp_path / "target").values()) <= 10


def test_an_encrypted_archive_is_said(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip", named("a"))
    data = bytearray(source.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    source.write_bytes(bytes(data))
    with pytest.raises(InputError, match="'a': it is encrypted"):
        unpack(source, tmp_path)


@pytest.fixture(scope="module")
def whole() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("annotations.xml", "images/1.png", "images/2.png"):
            file.writestr(name, name.encode() * 40)
    return buffer.getvalue()


@given(seed=st.integers(0, 2**32 - 1), cut=st.booleans())
@example(seed=1945, cut=False)  # an entry that is said to begin before the file
def test_a_damaged_archive_is_unpacked_or_refused(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    data = bytearray(whole)
    place = seed % len(data)
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 + seed // len(data) % 255
    (folder / "a.zip").write_bytes(data)
    (folder / "target").mkdir()
    with contextlib.suppress(InputError, OutputError):
        unpack(folder / "a.zip", folder / "target")
    assert {path.name for path in folder.iterdir()} == {"a.zip", "target"}
