"""Training a glimpse: the detector stays what it was, what was learned is used, mistakes are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.config import GlimpseConfig, GlimpseDataConfig, GlimpseRunConfig, GlimpseTrainConfig, ModelConfig
from seqdet.data.crops import Crops
from seqdet.data.dataset import load_dataset
from seqdet.data.synth.scene import CLASSES as SCENE_CLASSES
from seqdet.errors import UsageError
from seqdet.model.checkpoint import ModelCard, load_model, save_model
from seqdet.model.detector import build_detector
from seqdet.model.glimpse import build_glimpse
from seqdet.results.track_state import class_words
from seqdet.runs.glimpse_crops import rendered_crops
from seqdet.runs.stream import Model, load
from seqdet.runs.synth import synth
from seqdet.runs.train import train
from seqdet.runs.train_glimpse import Training, evaluate_glimpse
from seqdet.types import Frame

CONFIG = GlimpseRunConfig(
    kind="glimpse",
    model=GlimpseConfig(encoder="resnet10", stride=8, crop_px=32),
    data=GlimpseDataConfig(crops_per_sequence=8, detector_frames=4),
    train=GlimpseTrainConfig(
        steps=4, batch_crops=8, encoder_weights=None, threads=1, log_every=1, evaluate_every_share=0.5
    ),
)
DETECTOR = ModelConfig(
    encoder="resnet10", levels=(8, 16), channels=8, clip_width=8, track_width=8, input_size_wh=(96, 96)
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(
        tmp_path_factory.mktemp("glimpse") / "data", task="discs", sequences=6, frames=10, seed=3
    ).out


@pytest.fixture
def detector(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "detector.safetensors"
    save_model(
        path, build_detector(DETECTOR, 3), ModelCard(DETECTOR, load_dataset(data).classes), torch.float32
    )
    return path


def test_the_detector_stays_as_it_was_and_gets_a_glimpse(data: Path, detector: Path, tmp_path: Path):
    lines: list[dict] = []
    report = train(data, config=CONFIG, out=tmp_path / "run", start=detector, tell=lines.append)
    before, after = load_model(detector)[0], load_model(report.model)[0]
    assert after.glimpse is not None
    learned = {name for name in after.state_dict() if name.startswith("glimpse.")}
    assert learned
    assert set(after.state_dict()) - learned == set(before.state_dict())
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value.half().to(value.dtype)), name
    kinds = [line["kind"] for line in lines]
    assert kinds.count("step") == 4
    assert kinds.count("evaluation") == 2
    assert {"config.yaml", "data.txt", "log.jsonl", "last.safetensors"} == {
        path.name for path in report.run.iterdir()
    }


def test_the_same_seed_gives_the_same_glimpse(data: Path, detector: Path, tmp_path: Path):
    torch.set_num_threads(1)
    runs = [train(data, config=CONFIG, out=tmp_path / name, start=detector) for name in "ab"]
    first, second = (load_model(run.model)[0].state_dict() for run in runs)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_a_look_decides_is_learned():
    """A square, a square of stripes, and nothing."""
    rng = np.random.default_rng(0)
    pictures = np.full((60, 48, 48, 3), 60, np.uint8) + rng.integers(0, 30, (60, 48, 48, 3), np.uint8)
    class_ids = np.arange(60) % 3  # the third: nothing is there
    pictures[class_ids == 0, 16:32, 16:32] = 230
    pictures[class_ids == 1, 16:32:4, 16:32] = 230  # stripes
    tracks = np.where(class_ids == 2, -1, np.arange(60))
    crops = Crops(pictures, class_ids, tracks, np.arange(60) % 5)
    config = CONFIG.model_copy(
        update={"train": CONFIG.train.model_copy(update={"steps": 60, "batch_crops": 24, "ema_decay": 0.9})}
    )
    training = Training(config, build_glimpse(config.model, 2), crops, 2, torch.device("cpu"))
    while training.progress() < 1:
        training.step()
    figures = evaluate_glimpse(training.average.model, crops, torch.device("cpu"))
    assert figures["glimpse_accuracy"] > 0.9


def test_rendered_scenes_show_every_class_alike_and_are_recordings_of_their_own(data: Path):
    first = rendered_crops(("bird", "kite", *SCENE_CLASSES), CONFIG.model, 8, seed=1)
    again = rendered_crops(("bird", "kite", *SCENE_CLASSES), CONFIG.model, 8, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    counts = np.bincount(first.class_ids, minlength=6)
    assert counts[1] == 0
    assert (counts[[0, 2, 4, 5]] > 0).all(), "by name: airplane, bird, drone and helicopter"
    assert set(first.recordings.tolist()) == {0, 1}
    for track in np.unique(first.tracks):
        assert len(np.unique(first.class_ids[first.tracks == track])) == 1
    with pytest.raises(UsageError, match="rendered_clips"):
        rendered_crops(load_dataset(data).classes, CONFIG.model, 8, seed=1)


def with_glimpse(detector: Path, seed: int = 0) -> Model:
    """The detector with a glimpse that has learned nothing."""
    torch.manual_seed(seed)
    network, card = load_model(detector)
    config = card.config.model_copy(update={"glimpse": CONFIG.model})
    full = build_detector(config, 3)
    full.load_state_dict(network.state_dict(), strict=False)
    model = Model(full, replace(card, config=config), torch.device("cpu"))
    eager = replace(
        model.options,
        min_score=0.0,
        tracks=replace(
            model.options.tracks, high_score=0.01, low_score=0.005, new_track_score=0.01, min_hits=1
        ),
        postprocess=replace(model.options.postprocess, min_score=0.005),
    )
    return model.with_options(eager)


def frames(count: int = 9) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [Frame(rng.integers(0, 256, (120, 160, 3), np.uint8), index, index / 30) for index in range(count)]


def test_a_stream_with_glimpses_is_the_same_frame_by_frame(detector: Path):
    model = with_glimpse(detector)
    groups = [list(model.results_and_states(frames(), size)) for size in (1, 4)]
    for (one, _), (other, _) in zip(*groups, strict=True):
        np.testing.assert_allclose(one.detections.scores, other.detections.scores, atol=1e-5)
        assert one.detections.track_class_ids.tolist() == other.detections.track_class_ids.tolist()
    state = groups[0][-1][1].tracks
    looks = state.glimpse_evidence.sum(axis=1)
    most = model.options.glimpses * len(frames())
    assert most / 2 <= looks.sum() <= most + 1e-6, "tracks come and go: hardly a frame without a look"
    rows = np.flatnonzero(state.active)
    assert not np.allclose(class_words(state, rows), state.class_evidence[rows]), "the glimpses say nothing"


def test_no_glimpses_where_none_are_wanted(detector: Path):
    model = with_glimpse(detector)
    for options in (replace(model.options, glimpses=0), replace(model.options, track_class="vote")):
        *_, (_, state) = model.with_options(options).results_and_states(frames(), 4)
        assert not state.tracks.glimpse_evidence.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": None}, "--from"),
        ({"start": "airspace"}, "it knows"),
        ({"data": None}, "give DATA"),
    ],
)
def test_who_asks_wrongly_is_told(data: Path, detector: Path, tmp_path: Path, arguments, message):
    given = {"data": data, "start": detector} | arguments
    with pytest.raises(UsageError, match=message):
        train(given["data"], config=CONFIG, out=tmp_path / "run", start=given["start"])
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_left_alone(data: Path, detector: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        train(data, config=CONFIG, out=tmp_path / "run", start=detector)


def test_a_run_is_not_resumed_but_said_so(data: Path, detector: Path, tmp_path: Path):
    report = train(data, config=CONFIG, out=tmp_path / "run", start=detector)
    with pytest.raises(UsageError, match="begin anew"):
        train(None, resume=report.run)


def test_the_product_loads_it_and_looks(data: Path, detector: Path, tmp_path: Path):
    report = train(data, config=CONFIG, out=tmp_path / "run", start=detector)
    assert load(report.run, "cpu").detector.glimpse is not None
