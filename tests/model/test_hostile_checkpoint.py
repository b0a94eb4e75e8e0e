"""A checkpoint from a stranger: it may not reach beyond itself, and every fault is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from seqdet.config import ModelConfig
from seqdet.errors import InputError, OutputError
from seqdet.model.checkpoint import ModelCard, load_model, save_model, write_tensors
from seqdet.model.detector import Detector, build_detector

CONFIG = ModelConfig(levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64))
CARD = ModelCard(CONFIG, ("a", "b"))


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    return build_detector(CONFIG, 2)


def written(path: Path, model: Detector, **config: object) -> Path:
    """The model with another description."""
    document = {
        "format": "seqdet-model",
        "version": 1,
        "config": CONFIG.model_dump() | config,
        "classes": ["a", "b"],
    }
    write_tensors(path, model.state_dict(), document)
    return path


@pytest.mark.parametrize("elsewhere", ["imagenet", "/etc/passwd"])
def test_a_model_names_no_other_file_and_no_download(model, tmp_path, monkeypatch, elsewhere):
    def download(*_: object, **__: object) -> None:
        raise AssertionError("loading a model must not use the network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    loaded, card = load_model(written(tmp_path / "m.safetensors", model, encoder_weights=elsewhere))
    assert card.config == CONFIG
    assert len(loaded.state_dict()) == len(model.state_dict())


@pytest.mark.parametrize(
    "description", ["[" * 100_000, "[]", "17", "{", '{"format": "seqdet-model", "version": 1}'], ids=len
)
def test_a_damaged_description_is_one_line(tmp_path, description: str):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"x": torch.zeros(1)}, metadata={"seqdet": description}))
    with pytest.raises(InputError, match=r"m\.safetensors") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [[], "regnet_plain", None, {"encoder": "exec"}, {"channels": 10**9}])
def test_a_damaged_configuration_is_one_line(model, tmp_path, config):
    document = {"format": "seqdet-model", "version": 1, "config": config, "classes": ["a", "b"]}
    write_tensors(tmp_path / "m.safetensors", model.state_dict(), document)
    with pytest.raises(InputError, match="damaged") as caught:
        load_model(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


def test_any_text_file_is_no_model(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("boxes, classes and motion\n", encoding="utf-8")
    for wrong in (path, tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(InputError, match=r"no such model file|not a \.safetensors file") as caught:
            load_model(wrong)
        assert str(wrong) in str(caught.value)


def test_weights_too_large_for_half_precision_are_kept(model, tmp_path):
    """A variance beyond 65504 would be saved as infinity, and the model refused when it is loaded."""
    large = model.encoder.blocks[0][1].running_var
    kept = large.clone()
    large[0] = 1e6
    save_model(tmp_path / "m.safetensors", model, CARD)
    loaded, _ = load_model(tmp_path / "m.safetensors")
    torch.testing.assert_close(loaded.encoder.blocks[0][1].running_var, large)
    large.copy_(kept)


def test_a_loaded_model_says_what_the_saved_one_said(model, tmp_path):
    save_model(tmp_path / "m.safetensors", model, CARD, dtype=torch.float32)
    loaded, _ = load_model(tmp_path / "m.safetensors")
    frames = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        for one, other in zip(model.eval()(frames)[0].heads, loaded(frames)[0].heads, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_folder_that_is_a_file_is_said(model, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(OutputError, match="could not be written") as caught:
        save_model(tmp_path / "file" / "m.safetensors", model, CARD)
    assert "\n" not in str(caught.value)


def test_the_header_is_readable_without_torch(model, tmp_path):
    """Anybody can see what a file is: a length, then JSON."""
    path = tmp_path / "m.safetensors"
    save_model(path, model, ModelCard(CONFIG, ("a", "b"), {"data": "sky"}, {"map50": 0.5}))
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["seqdet"])
    assert document["classes"] == ["a", "b"]
    assert (document["training"], document["metrics"]) == ({"data": "sky"}, {"map50": 0.5})
    assert document["preprocessing"]["colour"] == "RGB"
