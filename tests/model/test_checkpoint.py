"""A checkpoint comes back as it was, and nothing else comes in: not cut, not foreign, not a pickle."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from seqdet.config import ModelConfig
from seqdet.errors import InputError, OutputError
from seqdet.model.checkpoint import ModelCard, load_model, save_model
from seqdet.model.detector import build_detector

CONFIG = ModelConfig(levels=(8, 16), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    torch.manual_seed(0)
    model = build_detector(CONFIG, 3)
    with torch.no_grad():
        model.tracks.lstm.peephole.fill_(0.25)
    save_model(path, model, ModelCard(CONFIG, ("a", "b", "c"), {"seed": 0}, {"map50": 0.5}))
    return path


def rewritten(checkpoint: Path, target: Path, change) -> Path:
    data = checkpoint.read_bytes()
    tensors = load(data)
    size = int.from_bytes(data[:8], "little")
    document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["seqdet"])
    change(tensors, document)
    target.write_bytes(save(tensors, metadata={"seqdet": json.dumps(document)}))
    return target


def test_what_was_saved_is_loaded(checkpoint: Path) -> None:
    model, card = load_model(checkpoint)
    assert (card.config, card.classes) == (CONFIG, ("a", "b", "c"))
    assert (card.training, card.metrics) == ({"seed": 0}, {"map50": 0.5})
    torch.manual_seed(0)
    fresh = build_detector(CONFIG, 3)
    for key, value in fresh.state_dict().items():
        if "tracks.lstm.peephole" in key:
            assert torch.all(model.state_dict()[key] == 0.25), "learned peepholes survive"
        else:
            torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_from_before_a_choice_has_its_default(checkpoint: Path, tmp_path: Path) -> None:
    def older(tensors, document) -> None:
        del document["config"]["memory_cell"], document["config"]["objectness"]

    model, card = load_model(rewritten(checkpoint, tmp_path / "older.safetensors", older))
    assert card.config == CONFIG
    assert not model.heads.merged


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(checkpoint: Path, tmp_path: Path, part: float) -> None:
    data = checkpoint.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match=r"cut\.safetensors"):
        load_model(cut)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    plain, zipped = tmp_path / "plain.pt", tmp_path / "zipped.pt"
    plain.write_bytes(pickle.dumps(Bomb(marker)))
    torch.save({"model": Bomb(marker)}, zipped)
    for path in (plain, zipped):
        with pytest.raises(InputError, match="pickled checkpoint"):
            load_model(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, document: document.update(version=99), "version 99"),
        (lambda tensors, document: document.update(format="other"), "not a seqdet model"),
        (lambda tensors, document: document.update(classes=[]), "0 classes"),
        (lambda tensors, document: document["config"].update(chanels=3), "damaged"),
        (lambda tensors, document: document["config"].update(channels=16), "not"),
        (lambda tensors, document: tensors.pop("heads.scales"), "missing"),
        (lambda tensors, document: tensors["heads.scales"].fill_(float("nan")), "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    checkpoint: Path, tmp_path: Path, change, message: str
) -> None:
    wrong = rewritten(checkpoint, tmp_path / "wrong.safetensors", change)
    with pytest.raises(InputError, match=message) as caught:
        load_model(wrong)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_huge_header_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match=r"not a \.safetensors file"):
        load_model(path)


def test_a_failed_write_leaves_the_older_file(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(checkpoint.read_bytes())
    model, card = load_model(target)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(target, model, card)
    assert target.read_bytes() == checkpoint.read_bytes()
    assert list(tmp_path.iterdir()) == [target]
