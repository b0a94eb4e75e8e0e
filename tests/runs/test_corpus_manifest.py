"""The list of a corpus: every entry comes out once, taken or named; nothing of it can harm."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from seqdet.errors import InputError, MissingDependencyError
from seqdet.runs.corpus_manifest import read_manifest
from seqdet.runs.corpus_store import need_scheme
from seqdet.runs.corpus_worker import output_name

HOSTILE = {
    "../up.mp4": "..",
    "/data/../../etc/passwd": "..",
    "bell\x07.mp4": "control",
    "line\u2028break.mp4": "control",
    "nul\0.mp4": "control",
    "x" * 1_000_000: "longer",
    "rtsp://user:secret@camera/1": "rtsp",
    "concat://a|b": "concat",
    "simplecache::s3://b/k.mp4": "chained",
    "javascript://x": "javascript",
}


def write(path: Path, cells: list[str]) -> Path:
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"n": list(range(len(cells))), "url": cells}), path)
    elif path.suffix == ".csv":
        path.write_text("n,Path\n" + "".join(f'{n},"{cell}"\n' for n, cell in enumerate(cells)))
    else:
        path.write_text("".join(f"{cell}\n" for cell in cells))
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_every_entry_comes_out_taken_or_named(tmp_path, suffix):
    good = ["a.mp4", "sub/b c.mp4", "/data/ä.mkv", "file:///data/d.mp4", "https://h/v.mp4", "s3://b/k.mp4"]
    entries = list(read_manifest(write(tmp_path / f"list{suffix}", good + list(HOSTILE))))
    lines = [entry for entry in entries if not entry.refused]
    expected = [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "sub/b c.mp4"),
        "/data/ä.mkv",
        "/data/d.mp4",
        *good[4:],
    ]
    assert [entry.source for entry in lines] == expected
    refused = [entry for entry in entries if entry.refused]
    if suffix == ".parquet":  # a line break inside of a text file begins another line
        assert len(refused) == len(HOSTILE)
    for (text, word), entry in zip(HOSTILE.items(), refused, strict=True):
        assert word in entry.refused, text[:50]
        assert entry.source == ""
        assert len(entry.shown) < 200
        assert entry.shown.isprintable()
        assert "secret" not in entry.shown
    first = {".txt": 1, ".csv": 2, ".parquet": 1}[suffix]
    assert [entry.line for entry in entries] == list(range(first, first + len(entries)))


def test_comments_empty_lines_and_a_byte_order_mark_are_no_entries(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.mp4\r\n\r\n# no.mp4\n  b.mp4  \n\xff\xfe.mp4\nlast.mp4")
    entries = list(read_manifest(path))
    assert [Path(entry.source).name for entry in entries] == ["a.mp4", "b.mp4", "", "last.mp4"]
    assert [entry.line for entry in entries] == [1, 4, 5, 6]
    assert "UTF-8" in entries[2].refused


def test_an_empty_cell_and_an_open_quote_are_named(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('id,video\n1,a.mp4\n2,\n3\n4,"open\n5,b.mp4\n')
    assert [bool(entry.refused) for entry in read_manifest(path)] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("list.txt", None, "no such"),
        ("list.yaml", b"- a", ".parquet"),
        ("list.csv", b"name,size\na,1\n", "no column"),
        ("list.parquet", b"no parquet at all", "list.parquet"),
    ],
)
def test_what_is_no_manifest_is_one_clear_error(tmp_path, name, content, word):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=word):
        list(read_manifest(tmp_path / name))


def test_a_long_manifest_is_a_stream(tmp_path):
    path = tmp_path / "list.txt"
    with path.open("w") as file:
        file.writelines(f"folder/video-{n:07d}.mp4\n" for n in range(30_000))
        file.write("y" * 5_000_000 + "\n")
    tracemalloc.start()
    count = sum(1 for _ in read_manifest(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30_001
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "source", ["/a/../../x.mp4", "s3://b/..%2f", "/x/" + "n" * 300 + ".mp4", "/..", "/é\n\0.mp4"]
)
def test_no_source_leads_its_results_elsewhere(source):
    name = output_name(source)
    assert name.startswith("rows/")
    assert len(name.split("/")) == 3
    assert ".." not in name.split("/")
    assert name.isascii()
    assert name.isprintable()
    assert len(name) < 120


def test_a_store_without_its_package_is_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("s3fs", "ray") else object()
    )
    with pytest.raises(MissingDependencyError, match="pip install s3fs"):
        need_scheme("s3")
