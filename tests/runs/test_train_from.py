"""Fine-tuning: a training that starts from trained weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqdet.config import Config, ModelConfig
from seqdet.errors import UsageError
from seqdet.model.checkpoint import ModelCard, load_model, save_model
from seqdet.model.detector import Detector, build_detector
from seqdet.model.transfer import carry_over
from seqdet.runs.synth import synth
from seqdet.runs.train import built_in_config, train

SHAPE = built_in_config().model


def saved(path: Path, config: ModelConfig, classes: int) -> Detector:
    model = build_detector(config, classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    save_model(path, model, ModelCard(config, tuple(f"class {n}" for n in range(classes))), torch.float32)
    return model


def test_the_same_shape_is_carried_over_whole():
    source, target = build_detector(SHAPE, 3), build_detector(SHAPE, 3)
    assert carry_over(source, target) == []
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name], rtol=0, atol=0)


def test_other_classes_keep_all_but_what_names_them():
    fresh = carry_over(build_detector(SHAPE, 3), build_detector(SHAPE, 5))
    assert fresh
    assert all(name.startswith(("heads.", "clip.", "tracks.classes")) for name in fresh), fresh


def test_differences_may_join_later_and_change_nothing_at_first():
    config = SHAPE.model_copy(update={"difference_rates": (1.0, 0.1)})
    source, target = build_detector(SHAPE, 3).eval(), build_detector(config, 3).eval()
    assert carry_over(source, target) == []
    frames = torch.randint(0, 256, (1, 4, 3, 96, 96), dtype=torch.uint8)
    with torch.inference_mode():
        for one, other in zip(source(frames)[0].heads[:3], target(frames)[0].heads[:3], strict=True):
            torch.testing.assert_close(one, other)


def test_training_starts_where_the_model_stopped(tmp_path: Path):
    """With a rate of next to nothing, what comes out is what went in; the shape is taken over too."""
    data = synth(tmp_path / "data", task="discs", sequences=4, frames=12, seed=0).out
    shape = SHAPE.model_copy(update={"channels": 24})
    source = saved(tmp_path / "model.safetensors", shape, 3)
    report = train(
        data, config=with_short_training(shape), out=tmp_path / "run", start=tmp_path / "model.safetensors"
    )
    trained, card = load_model(report.run / "last.safetensors")
    assert card.config.channels == 24
    for (name, got), expected in zip(trained.named_parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(
            got, expected, atol=2e-3, rtol=2e-3, msg=lambda text, n=name: f"{n}: {text}"
        )


def with_short_training(shape: ModelConfig) -> Config:
    """Two steps at a rate of next to nothing."""
    config, short = built_in_config(), {"share": 1.0, "clips_per_batch": 2, "frames_per_clip": 2}
    stage = config.train.stages[0].model_copy(update=short)
    changed = {"steps": 2, "learning_rate": 1e-9, "evaluate_clips": 0, "stages": (stage,), "threads": 1}
    return config.model_copy(update={"model": shape, "train": config.train.model_copy(update=changed)})


def test_contradictions_are_said(tmp_path: Path):
    with pytest.raises(UsageError, match="leave out --from"):
        train(None, resume=tmp_path, start="airspace")
    with pytest.raises(UsageError, match="no model 'airspac'"):
        train(tmp_path, start="airspac")
    data = synth(tmp_path / "data", task="discs", sequences=4, frames=12, seed=0).out
    other = SHAPE.model_copy(update={"encoder": "resnet10"})
    with pytest.raises(UsageError, match="another shape"):
        train(data, config=with_short_training(other), out=tmp_path / "run", start="airspace")
    assert not (tmp_path / "run").exists()
