"""Controls are the same weights used otherwise; a report is left whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seqdet
from seqdet.config import ModelConfig
from seqdet.data.dataset import load_dataset
from seqdet.errors import OutputError, UsageError
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.runs.evaluate import CONTROLS, evaluate
from seqdet.runs.measure import Measured, measure
from seqdet.runs.report import prepare_folder, worst_stretches
from seqdet.runs.stream import Model, load
from seqdet.runs.synth import synth
from seqdet.types import Frame
from seqdet.video.reader import open_video


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 60, (256, 320, 3), np.uint8)
    shown = []
    for index in range(9):
        rgb = scene.copy()
        rgb[100:108, 40 + 6 * index : 56 + 6 * index] = 250
        shown.append(Frame(rgb, index, index / 30))
    return shown


@pytest.fixture(scope="module")
def shipped() -> Model:
    model = seqdet.load("airspace", device="cpu")
    return model.with_options(replace(model.options, min_score=0.0))


def without_help_of_tracks(model: Model, **changes) -> Model:
    """Boxes, classes and scores as the network gives them."""
    options = replace(
        model.options,
        class_memory=0.0,
        score_memory=0.0,
        size_memory_s=0.0,
        unconfirmed_factor=1.0,
        glimpses=0,
        **changes,
    )
    return model.with_options(options)


def test_without_memory_a_frame_says_the_same_after_any_past(frames, shipped):
    forgetful = without_help_of_tracks(shipped, memory=False)
    after_all = list(forgetful.detect(frames))[-1].detections
    alone = next(iter(forgetful.detect([frames[-1]]))).detections
    assert len(alone) > 0
    for name in ("boxes_xyxy_px", "scores", "class_scores"):
        np.testing.assert_allclose(getattr(after_all, name), getattr(alone, name), atol=1e-3)
    remembering = without_help_of_tracks(shipped)
    after_all = list(remembering.detect(frames))[-1].detections
    alone = next(iter(remembering.detect([frames[-1]]))).detections
    assert len(after_all) != len(alone) or not np.allclose(after_all.scores, alone.scores, atol=1e-3)


def test_without_memory_detect_and_step_agree_and_no_state_of_the_network_is_left(frames, shipped):
    forgetful = shipped.with_options(replace(shipped.options, memory=False))
    state = forgetful.initial_state()
    for frame, result in zip(frames, forgetful.detect(frames), strict=True):
        found, state = forgetful.step(frame.rgb, state, frame.time_s)
        np.testing.assert_allclose(found.boxes_xyxy_px, result.detections.boxes_xyxy_px, atol=0.05)
        np.testing.assert_allclose(found.scores, result.detections.scores, atol=1e-4)
        np.testing.assert_array_equal(found.track_ids, result.detections.track_ids)
    cells = [*state.detector.maps, state.detector.clip, state.detector.tracks]
    assert all(not part.any() for cell in cells for part in cell)
    assert state.tracks.active.any(), "the tracker goes on"


def test_without_memory_a_video_file_is_detected_in_too(shipped):
    video = Path(__file__).resolve().parents[2] / "sample_videos" / "airspace_thermal.mp4"
    with open_video(video) as reader:
        first = [frame for frame, _ in zip(reader, range(6), strict=False)]
    forgetful = shipped.with_options(replace(shipped.options, memory=False))
    of_file = forgetful.detect(video)
    for frame_result in forgetful.detect(first[:4]):
        from_file = next(of_file)
        np.testing.assert_array_equal(frame_result.track_ids, from_file.track_ids)
        np.testing.assert_allclose(frame_result.scores, from_file.scores, atol=1e-4)
    of_file.close()


def test_by_vote_a_track_has_the_class_of_most_of_its_boxes(frames, shipped):
    voting = without_help_of_tracks(shipped, memory=False, track_class="vote")
    votes: dict[int, np.ndarray] = {}
    compared = 0
    for result in voting.detect(frames):
        found = result.detections
        for track_id, class_id, named in zip(
            found.track_ids, found.class_ids, found.track_class_ids, strict=True
        ):
            if track_id < 0:
                assert named == -1
                continue
            # Before it was confirmed a track had boxes without its id: they are not counted here.
            votes.setdefault(int(track_id), np.zeros(4))[class_id] += 1
            counted = votes[int(track_id)]
            rest = np.sort(counted)
            if rest[-1] - rest[-2] > voting.options.tracks.min_hits:
                assert named == counted.argmax()
                compared += 1
    assert compared > 0


def test_the_vote_control_keeps_the_scores_of_the_frames(frames, shipped):
    control = {control.name: control for control in CONTROLS}["majority_vote"]
    voting = shipped.with_options(control.change(shipped.options))
    plain = without_help_of_tracks(shipped, memory=False)
    for with_vote, alone in zip(voting.detect(frames), plain.detect(frames), strict=True):
        np.testing.assert_allclose(with_vote.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(with_vote.boxes_xyxy_px, alone.boxes_xyxy_px, atol=1e-3)
        tracked = with_vote.track_ids >= 0
        np.testing.assert_array_equal(
            with_vote.detections.class_ids[tracked], with_vote.detections.track_class_ids[tracked]
        )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "data"
    synth(out, task="discs", sequences=8, frames=10, seed=3)
    return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, data) -> Path:
    """A model that has learned nothing."""
    config = ModelConfig(levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(96, 96))
    classes = load_dataset(data).classes
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, build_detector(config, len(classes)), ModelCard(config, classes))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory, data, tiny) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("report") / "out"
    return out, evaluate(data, model=tiny, split="train", limit=3, max_frames=6, out=out, device="cpu")


def test_shuffled_frames_bring_their_truth_along(data, tiny):
    dataset = load_dataset(data)
    sequence = dataset.split("train")[0]
    model = load(tiny, "cpu")
    recorded, shuffled = (measure(model, dataset, [sequence], shuffle_seed=s).truths[0] for s in (None, 1))
    rows = [
        {tuple(truth.boxes_xyxy_px[rows].ravel()) for rows in truth.per_frame()}
        for truth in (recorded, shuffled)
    ]
    assert rows[0] == rows[1], "the same frames"
    assert not np.array_equal(recorded.boxes_xyxy_px, shuffled.boxes_xyxy_px), "in another order"
    np.testing.assert_array_equal(recorded.times_s, shuffled.times_s)


def test_the_report_is_a_page_its_figures_and_videos_that_play(report):
    out, figures = report
    assert json.loads((out / "eval.json").read_text()) == json.loads(json.dumps(figures))
    page = (out / "report.html").read_text()
    assert figures["clips"] == 3
    assert figures["frames"] == 18
    videos = sorted((out / "clips").glob("*.mp4"))
    assert videos, "nothing is found, so every clip is a bad one"
    assert sorted(out.rglob("*.partial*")) == []
    for video in videos:
        assert f"clips/{video.name}" in page
        with open_video(video) as reader:
            assert sum(1 for _ in reader) == 6


def test_every_control_has_all_figures_and_the_difference_to_them(report):
    _, figures = report
    assert figures["controls"].keys() == {control.name for control in CONTROLS}
    own = figures.keys() - {"controls"}
    for name, control in figures["controls"].items():
        missing = {"by_speed"} if name == "shuffled" else set()
        assert control.keys() == (own - missing) | {"difference_95"}
    assert figures["intervals_95"].keys() == figures["controls"]["shuffled"]["difference_95"].keys()


def test_without_controls_there_are_none(data, tiny):
    assert evaluate(data, model=tiny, split="train", limit=1, max_frames=2, controls=False)["controls"] == {}


def test_an_evaluation_is_not_overwritten_unasked(report, data, tiny, tmp_path):
    out, _ = report
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="--force"):
        evaluate(data, model=tiny, split="train", limit=1, out=out)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    prepare_folder(out, force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be made"):
        prepare_folder(tmp_path / "file", force=False)


def clip(recording: str, missed: range) -> tuple[SequenceTruth, SequencePredictions]:
    """One object in each of 40 frames, found in all but some."""
    frames, zeros = np.arange(40), np.zeros(40, np.int64)
    boxes = np.tile([10.0, 10, 20, 20], (40, 1))
    found = SequencePredictions(frames, boxes, np.ones(40), zeros, zeros + 1, zeros)
    truth = SequenceTruth(frames / 30, frames, boxes, zeros, zeros, recording=recording)
    return truth, found.where(~np.isin(frames, missed))


def test_the_worst_stretch_is_where_the_mistakes_are_of_one_clip_a_recording():
    clips = [clip("a", range(9)), clip("a", range(20, 30)), clip("b", range(0)), clip("c", range(35, 40))]
    truths, shown = (list(column) for column in zip(*clips, strict=True))
    found = worst_stretches(Measured(truths, [], shown, 1.0, 160), frames=10)
    assert [(stretch.clip, stretch.first) for stretch in found] == [(1, 20), (3, 30)]
    assert [stretch.mistakes.share for stretch in found] == [10 / 40, 5 / 40]
    assert worst_stretches(Measured(truths, [], shown, 1.0, 160), clips=1)[0].clip == 1
