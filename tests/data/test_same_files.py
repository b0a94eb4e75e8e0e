"""Files that are there twice, whatever they are called; and such as only begin alike."""

from __future__ import annotations

from pathlib import Path

from seqdet.data.same_files import find_same_files


def write(folder: Path, **contents: bytes) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_equal_files_of_two_owners_are_found_and_nothing_else(tmp_path: Path) -> None:
    long = bytes(9000)
    at = write(
        tmp_path, a=b"one", b=b"two", c=b"one", d=long, e=long, f=long[:-1] + b"x", g=b"two", h=b"", i=b""
    )
    files = [
        [at["a"], at["b"], at["d"]], [at["c"], at["f"]], [at["e"], at["g"], at["h"]], [tmp_path / "none"],
        [at["i"]],
    ]  # fmt: skip
    found = {(same.first, same.second): same.pairs for same in find_same_files(files)}
    assert {pair: sorted(x.name + y.name for x, y in files) for pair, files in found.items()} == {
        (0, 1): ["ac"],
        (0, 2): ["bg", "de"],
        (2, 4): ["hi"],
    }


def test_what_one_owner_has_twice_is_no_finding_but_counts_against_others(tmp_path: Path) -> None:
    at = write(tmp_path, a=b"same", b=b"same", c=b"same", d=b"same")
    assert find_same_files([[at["a"], at["b"]]]) == []
    (pair,) = find_same_files([[at["a"], at["b"]], [at["c"], at["d"]]])
    assert [other.name for _, other in pair.pairs] == ["c", "d"]
