"""Tools around the sequence classifier: folders from a data set, an encoder from a detector."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from moving_squares import write_folders
from safetensors.torch import save_file

from seqdet.config import ClassifierModelConfig
from seqdet.data.dataset import load_dataset
from seqdet.data.formats import class_folders
from seqdet.errors import UsageError
from seqdet.model.encoder import build_encoder, torchvision_weights
from seqdet.model.sequence_classifier import build_classifier
from seqdet.runs.ingest import ingest


def tool(name: str) -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_folders_of_a_data_set_are_ingested_as_the_same_data_set(tmp_path):
    ingest(write_folders(tmp_path / "source", {"train": 2, "val": 1}, "moving", frames=2), tmp_path / "data")
    dataset = load_dataset(tmp_path / "data")
    make = tool("make_class_folders").make_class_folders
    assert make(dataset, tmp_path / "folders", "val") == 6
    assert class_folders.sniff(tmp_path / "folders")
    ingest(tmp_path / "folders", tmp_path / "again")
    again = load_dataset(tmp_path / "again")
    assert again.classes == dataset.classes
    assert [(s.class_id, s.frames) for s in again.split("test")] == [
        (s.class_id, s.frames) for s in dataset.split("val")
    ]
    with pytest.raises(UsageError, match="exists"):
        make(dataset, tmp_path / "folders", "val")


def test_an_encoder_of_a_detector_is_that_of_a_classifier(tmp_path):
    """Also one that sees frame differences beside colours: their channels are left out."""
    seen = build_encoder("regnet_plain", extra_inputs=2)
    save_file(torchvision_weights("regnet_plain", seen), tmp_path / "encoder.safetensors")
    weights = str(tmp_path / "encoder.safetensors")
    config = ClassifierModelConfig(encoder="regnet_plain", encoder_weights=weights, input_size_wh=(64, 64))
    model = build_classifier(config, 2).eval()
    pictures = torch.rand(1, 3, 64, 64)
    wide = torch.cat([pictures, torch.zeros(1, 2, 64, 64)], dim=1)
    for got, wanted in zip(model.encoder(pictures), seen.eval()(wide), strict=True):
        torch.testing.assert_close(got, wanted)
