"""Every reader with every fault: it reads what is meant, or names file and line or key, and leaves nothing.

What must hold for each is the table in bad_input_cells.py.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input_cells import READ, TABLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sources import READERS, SIZE_WH, SOURCES, make, make_media

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import FORMATS
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

BOMB = (
    '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>\n'
)
UNICODE = "鳥 é ß"


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(SOURCES)
    assert {READERS.get(name, name) for name in TABLE} == set(FORMATS)


@pytest.fixture(params=TABLE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def good(name: str, tracks: int = 1) -> bytes:
    return SOURCES[name].text(tracks, SOURCES[name].frames).encode()


def boxes(out: Path) -> list[np.ndarray]:
    dataset = load_dataset(out)
    return [dataset.labels(sequence).boxes_xyxy_px for sequence in dataset.sequences]


def on_disk(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def holds(folder: Path, name: str, says: str, expected: int | None = None) -> str:
    """The source in ``folder`` is read, or refused with these words; return the words.

    Nothing but the data set is on disk afterwards, and nothing at all where it is refused, also where the
    format is found by content.
    """
    before = on_disk(folder)
    if says == READ:
        report = ingest(folder / "source", folder / "out", format=READERS.get(name, name))
        assert report.boxes == (SOURCES[name].frames if expected is None else expected)
        assert {each.size_wh for each in load_dataset(report.out).sequences} == {SIZE_WH}
        left = {path for path in on_disk(folder) if path.split("/")[0] != "out"}
        assert left == before.keys()
        return ""
    words = ""
    for format in ("auto", READERS.get(name, name)):
        with pytest.raises(InputError) as caught:
            ingest(folder / "source", folder / "out", format=format)
        words = str(caught.value)
        assert re.search(says, words), words
        assert caught.value.exit_code == 3
        assert on_disk(folder) == before
    return words


def changed(text: bytes, old: str, new: str, count: int = 1) -> bytes:
    assert old.encode() in text, "the test itself is wrong"
    return text.replace(old.encode(), new.encode(), count)


def test_truncated(name: str, tmp_path: Path) -> None:
    says = TABLE[name].truncated
    assert says is not None
    if name == "class-folders":
        video = make(tmp_path / "source", name) / SOURCES[name].labels
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
        holds(tmp_path, name, says)
        return
    text = good(name).rstrip(b"\n")
    start = text.rfind(b"\n") + 1
    make(tmp_path / "source", name, text[: (start + len(text)) // 2])
    holds(tmp_path, name, says)


def test_empty_file(name: str, tmp_path: Path) -> None:
    says = TABLE[name].empty
    assert says is not None
    make(tmp_path / "source", name, b"")
    holds(tmp_path, name, says, expected=0)


def test_not_a_number(name: str, tmp_path: Path) -> None:
    says = TABLE[name].nan
    if says is None:
        pytest.skip("there is no text")
    old = "0.3203125" if name == "yolo" else "10.5"
    make(tmp_path / "source", name, changed(good(name), old, "NaN"))
    holds(tmp_path, name, says)


@pytest.mark.parametrize("fault", ["wrong_type", "negative"])
def test_wrong_types_and_negative_ids(name: str, fault: str, tmp_path: Path) -> None:
    cell = getattr(TABLE[name], fault)
    if cell is None:
        pytest.skip("the table says why")
    old, new, says = cell
    make(tmp_path / "source", name, changed(good(name), old, new))
    holds(tmp_path, name, says)


def test_entity_bomb(name: str, tmp_path: Path) -> None:
    if not TABLE[name].is_xml:
        pytest.skip("not XML")
    declaration, _, rest = good(name).partition(b"<annotation")
    text = declaration + BOMB.encode() + b"<annotation" + rest
    make(tmp_path / "source", name, changed(text, "bird</name>", "&c;</name>") if b"bird" in text else text)
    holds(tmp_path, name, r"\.xml: it declares entities or reads other files, .* refused")


def test_unicode_path(name: str, tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", name)
    for path in [path for path in plain.rglob("*") if path.is_file()]:
        target = tmp_path / "source" / str(path.relative_to(plain)).replace("clip", UNICODE)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        is_text = path.suffix not in (".avi", ".png")
        target.write_bytes(content.replace(b"clip", UNICODE.encode()) if is_text else content)
    holds(tmp_path, name, READ, expected=0 if name == "class-folders" else None)


@pytest.mark.parametrize(("to", "cell"), [("../{}", "above"), ("/etc/{}", "absolute")])
def test_paths_that_lead_out(name: str, to: str, cell: str, tmp_path: Path) -> None:
    row = TABLE[name]
    if row.path is None:
        pytest.skip("the table says why")
    file, named = row.path
    source = make(tmp_path / "source", name)
    outside = to.format(named.lstrip("/"))
    (source / file).write_bytes(changed((source / file).read_bytes(), named, outside))
    # What ../ leads to is there, of another size: it is not used for all that.
    for media in SOURCES[name].media(SOURCES[name].frames):
        for place in (media, "/".join(media.split("/")[-2:]), media.rsplit("/", 1)[-1]):
            make_media(tmp_path / place, SOURCES[name].frames, (32, 24))
    holds(tmp_path, name, getattr(row, cell).format(re.escape(outside)))


@pytest.mark.parametrize("cut", [0, 40, -2])
def test_a_label_file_that_is_cut_off_beside_a_whole_one_is_not_passed_over(
    name: str, cut: int, tmp_path: Path
) -> None:
    """Formats are found by content, and what is left of such a file may look like none."""
    labels = Path(SOURCES[name].labels)
    if labels.suffix not in (".json", ".xml") or name in ("voc", "imagenet-vid"):
        pytest.skip("its files are found by their names")
    source = make(tmp_path / "source", name)
    other = source / labels.with_stem("val")
    other.write_bytes(good(name)[:cut])
    holds(tmp_path, name, rf"{re.escape(str(other))}:\d+: not valid (JSON|XML)")


def test_a_file_of_wrong_lines_is_said_in_a_few(name: str, tmp_path: Path) -> None:
    """Words stay few and are counted. The million-line file is in tests/bench/test_ingest_size.py."""
    if TABLE[name].nan is None:
        pytest.skip("there is no text")
    tracks = 400
    text = good(name, tracks)
    number = rb"(?<=[ >\"\[,])1\d\.\d+" if name != "yolo" else rb"(?<=^0 )\S+"
    text, count = re.subn(number, b"NaN", text, flags=re.MULTILINE)
    make(tmp_path / "source", name, text)
    words = holds(tmp_path, name, r"\n  \.\.\. and \d{3,} more")
    assert count > tracks / 2  # whole numbers are left
    assert len(words.splitlines()) <= 22
    assert len(words) < 6_000 + 25 * len(str(tmp_path))


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="BOM"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), id="both"),
    ],
)
def test_byte_order_mark_and_line_ends(name: str, written: Callable[[bytes], bytes], tmp_path: Path) -> None:
    if name == "class-folders":
        pytest.skip("there is no text")
    with tempfile.TemporaryDirectory() as other:
        plain = make(Path(other) / "source", name)
        ingest(plain, Path(other) / "out")
        expected = boxes(Path(other) / "out")
    source = make(tmp_path / "source", name)
    for path in [path for path in source.rglob("*") if path.is_file()]:
        if path.suffix not in (".avi", ".png"):
            text = path.read_bytes()
            indented = text.replace(b', "', b',\n "') if path.suffix == ".json" else text
            path.write_bytes(written(indented))
    holds(tmp_path, name, READ)
    for found, wanted in zip(boxes(tmp_path / "out"), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


FRAGMENTS = [
    b"", b"-1", b"NaN", b"1e400", b"9" * 40, b"\0", b"\xff", b'"', b"<", b"&a;", b"{", b",", b"\n", b"../",
    b"/etc/",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(FRAGMENTS)), min_size=1, max_size=3
)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_whatever_is_written_over_a_label_file_it_is_read_or_refused_and_nothing_is_left(
    name: str, tmp_path: Path, edits: list[tuple[float, int, bytes]]
) -> None:
    if name == "class-folders":
        pytest.skip("there is no text")
    if not (tmp_path / "source").exists():
        make(tmp_path / "source", name)
    text = good(name, 2)
    for where, length, fragment in edits:
        start = int(where * len(text))
        text = text[:start] + fragment + text[start + length :]
    (tmp_path / "source" / SOURCES[name].labels).write_bytes(text)
    before = on_disk(tmp_path)
    try:
        report = ingest(tmp_path / "source", tmp_path / "out", format=READERS.get(name, name))
        assert sum(map(len, boxes(report.out))) == report.boxes
        shutil.rmtree(report.out)
    except InputError:
        pass
    assert on_disk(tmp_path) == before
