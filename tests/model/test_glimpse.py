"""The second look: a function of each crop alone, saved with its detector; what training shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqdet.config import GlimpseConfig, ModelConfig
from seqdet.model.checkpoint import ModelCard, load_model, save_model
from seqdet.model.detector import build_detector
from seqdet.model.fold import fold_batchnorm
from seqdet.model.glimpse import build_glimpse
from seqdet.model.glimpse_views import plain_view, random_view

SHAPE = GlimpseConfig(encoder="resnet10", stride=8, crop_px=32)


def crops(count: int, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_each_crop_is_named_for_itself_with_one_class_more_for_nothing(stride):
    glimpse = build_glimpse(SHAPE.model_copy(update={"stride": stride}), 3).eval()
    seen = crops(4)
    with torch.inference_mode():
        together = glimpse(seen)
        single = torch.cat([glimpse(one[None]) for one in seen])
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(glimpse(seen[order]), together[order], atol=1e-5, rtol=1e-5)
    assert together.shape == (4, 4)
    torch.testing.assert_close(single, together, atol=1e-5, rtol=1e-5)


def test_bytes_and_numbers_are_one_picture_and_folding_changes_nothing():
    glimpse, seen = build_glimpse(SHAPE, 2), crops(8)
    with torch.no_grad():
        for _ in range(3):
            glimpse(seen)  # statistics of BatchNorm that are not 0 and 1
        glimpse.eval()
        before = glimpse(seen)
        torch.testing.assert_close(glimpse(seen.float()), before)
        fold_batchnorm(glimpse)
        torch.testing.assert_close(glimpse(seen), before, atol=1e-4, rtol=1e-4)


def test_a_glimpse_is_saved_with_its_detector_and_others_have_none(tmp_path: Path):
    base = ModelConfig(
        encoder="resnet10", levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64)
    )
    for config in (base, base.model_copy(update={"glimpse": SHAPE})):
        detector, path = build_detector(config, 2), tmp_path / "model.safetensors"
        save_model(path, detector, ModelCard(config, ("a", "b")), torch.float32)
        loaded, card = load_model(path)
        assert card.config.glimpse == config.glimpse
        assert (loaded.glimpse is None) == (config.glimpse is None)
        for (name, value), other in zip(
            detector.state_dict().items(), loaded.state_dict().values(), strict=True
        ):
            assert torch.equal(value, other), name


def test_without_draws_the_middle_is_seen_as_it_is():
    kept = crops(2, 96).float()
    seen = plain_view(kept, 64, 1.5)
    torch.testing.assert_close(seen, kept[:, :, 16:80, 16:80], atol=0.05, rtol=0)


def test_random_views_are_pictures_that_follow_from_their_seed():
    kept = crops(16, 48).float()
    views = [random_view(kept, 32, 1.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    for seen in views:
        assert seen.shape == (16, 3, 32, 32)
        assert torch.isfinite(seen).all()
        assert seen.min() >= 0
        assert seen.max() <= 255


def test_random_views_leave_an_object_in_the_middle_in_sight():
    """The middle of every view shows the object: geometry never loses it."""
    kept = torch.full((64, 3, 96, 96), 20.0)
    kept[:, :, 32:64, 32:64] = 220.0
    seen = random_view(kept, 64, 1.5, torch.Generator().manual_seed(3))
    middle, rim = (
        seen[:, :, 28:36, 28:36].mean(dim=(1, 2, 3)),
        seen[:, :, [0, -1]][..., [0, -1]].mean(dim=(1, 2, 3)),
    )
    # Inverted, faded, half hidden: but nearly always there is a difference between it and its surroundings.
    assert ((middle - rim).abs() > 10).float().mean() > 0.8
