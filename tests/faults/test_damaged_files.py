"""Files that are cut or have flipped bits: refused in a line, or read with what is missing said. No crash.

tests/bench/test_damaged_files_at_length.py does the same with hundreds of seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

from mutants import MEDIA, PICTURES, cuts, fates, flipped, whole_picture, whole_video

from seqdet.config_file import load_any_config
from seqdet.errors import InputError, UsageError
from seqdet.model.checkpoint import load_model

SEEDS = 9
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "small.yaml"


def damaged(folder: Path, count: int) -> list[tuple[Path, int]]:
    """Cuts and flips of a video of each kind, and of a picture; with the frames that the whole one has."""
    files = []
    for suffix in (*MEDIA, ".jpg"):
        whole = folder / f"whole{suffix}"
        data = whole_picture(whole) if suffix == ".jpg" else whole_video(whole)
        changed = [*cuts(data, count), *(flipped(data, seed) for seed in range(count))]
        for number, content in enumerate(changed):
            path = folder / f"{number}{suffix}"
            path.write_bytes(content)
            files.append((path, 1 if suffix == ".jpg" else PICTURES))
    return files


def test_media(tmp_path: Path) -> None:
    ended = list(fates(damaged(tmp_path, SEEDS)))
    assert len(ended) == 2 * SEEDS * (len(MEDIA) + 1)
    for path, fate in ended:
        assert fate.kind != "crash", (path, fate)
        assert "\n" not in fate.words
        assert "Error" not in fate.words or path.name in fate.words
        is_cut = int(path.stem) < SEEDS
        assert not (is_cut and fate.kind == "silent"), (path, fate)
    assert {fate.kind for _, fate in ended} >= {"refused", "told", "full"}, "the damage is of all degrees"


def test_a_header_of_weights(model_path: Path, tmp_path: Path) -> None:
    """Whatever is changed in it, the file is refused, or it is the seal's name and the weights are whole."""
    data = model_path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    path, loaded, said = tmp_path / "m.safetensors", 0, []
    for content in (
        *(part + data[length:] for part in cuts(data[:length], SEEDS)),
        *(flipped(data[:length], seed) + data[length:] for seed in range(SEEDS * 4)),
    ):
        path.write_bytes(content)
        try:
            load_model(path)
            loaded += 1
        except InputError as error:
            said.append(str(error))
    assert loaded <= 1
    assert [words for words in said if str(path) not in words or "\n" in words] == []


def test_a_configuration(tmp_path: Path) -> None:
    path, said = tmp_path / "c.yaml", []
    for seed in range(SEEDS * 4):
        path.write_bytes(flipped(CONFIG.read_bytes(), seed, least=1 + seed % 3))
        try:
            load_any_config(path)
        except UsageError as error:
            said.append(str(error))
    assert len(said) > SEEDS
    assert [words for words in said if str(path) not in words] == []


def test_the_damage_is_the_same_every_time() -> None:
    data = json.dumps(list(range(1000))).encode()
    assert flipped(data, 5) == flipped(data, 5) != flipped(data, 8)
