"""``seqdet explain`` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import torch
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config import ClassifierModelConfig, ModelConfig
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.classifier_checkpoint import ClassifierCard, save_classifier
from seqdet.model.detector import build_detector
from seqdet.model.sequence_classifier import build_classifier
from seqdet.runs.explain_stream import moments, track_inputs
from seqdet.runs.explain_survey import survey
from seqdet.runs.stream import load
from seqdet.video.reader import open_video

FRAMES = 8


@pytest.fixture
def video(make_video: Callable[..., Path]) -> Path:
    return make_video("sky.mp4", FRAMES)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(build(), ["explain", *map(str, arguments), "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_track_is_explained(sure_model: Path, video: Path, tmp_path: Path):
    out = tmp_path / "why"
    code, stdout, _ = run(sure_model, video, "--out", out, "--boxes", 2, "--window", 4, "--json")
    assert code == 0
    printed = json.loads(stdout)
    written = json.loads((out / "explain.json").read_text())
    assert {key: value for key, value in printed.items() if key != "out"} == written
    assert written["kind"] == "track"
    track = next(one for one in written["all_tracks"] if one["track_id"] == written["boxes"][0]["track_id"])
    assert 1 <= len(written["boxes"]) <= min(2, track["detections"])
    assert len(list((out / "strips").glob("*.png"))) == len(written["boxes"])
    for box in written["boxes"]:
        evidence = box["evidence"]
        assert evidence["frames"][-1] == box["frame"]
        assert len(evidence["frames"]) <= 4
        assert len(evidence["drop"]) == len(evidence["of_update"]) == len(evidence["frames"]) - 1
        # What the memory of maps says at the end of its window is what the stream said.
        objectness = 1 / (1 + 2.718281828 ** -evidence["score"])
        assert objectness == pytest.approx(box["changed"]["with_memory"]["objectness"], abs=1e-3)
        assert set(box["gates"]["open"]) == {"input", "forget", "output"}
    assert [one["track_id"] for one in written["tracks"]] == [written["boxes"][0]["track_id"]]
    with av.open(str(out / "explain.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (128, 48)
        assert sum(1 for _ in container.decode(stream)) == written["boxes"][-1]["frame"] + 1 - max(
            written["boxes"][0]["frame"] - 3, 0
        )
    page = (out / "explain.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert list(tmp_path.glob(".why*")) == []


@pytest.mark.parametrize(
    "asked", [["--sequence"], ["--frame", 5], ["--frame", 5, "--box", 1, "--why", "class"]]
)
def test_what_can_be_asked(sure_model: Path, video: Path, tmp_path: Path, asked: list[object]):
    code, stdout, _ = run(
        sure_model, video, "--out", tmp_path / "why", "--boxes", 1, "--window", 2, "--json", *asked
    )
    assert code == 0
    said = json.loads(stdout)
    assert said["kind"] == ("sequence" if asked == ["--sequence"] else "detection")
    if "--frame" in asked:
        assert [box["frame"] for box in said["boxes"]] == [5]
        assert "--box" not in asked or said["boxes"][0]["box"] == 1


def test_the_first_frame_has_none_before_it(sure_model: Path, video: Path, tmp_path: Path):
    code, stdout, _ = run(sure_model, video, "--out", tmp_path / "why", "--frame", 0, "--json")
    assert code == 0
    (box,) = json.loads(stdout)["boxes"]
    evidence = box["evidence"]
    assert (evidence["frames"], evidence["of_update"], evidence["drop"]) == ([0], [], [])
    assert (evidence["reach_frames"], evidence["rank_correlation"]) == (1, None)


def test_the_list_says_what_there_is(sure_model: Path, video: Path):
    code, stdout, _ = run(sure_model, video, "--list", "--json")
    said = json.loads(stdout)
    assert code == 0
    assert said["frames"] == FRAMES
    assert said["tracks"]
    one = said["tracks"][0]
    assert any((box["frame"], box["box"]) == (one["best_frame"], one["best_box"]) for box in said["boxes"])
    assert "track_id" in run(sure_model, video, "--list")[1]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--track", 999], 2, "there is no track 999; it has 1"),
        (["--frame", 99], 2, "there is no frame 99; it has frames 0 to 7"),
        (["--frame", 3, "--box", 99], 2, "frame 3 has no box 99; it has 0 "),
        (["--box", 1], 2, "give --frame too"),
        (["--track", 1, "--sequence"], 2, "choose one of them"),
        (["--score", 0.9999], 3, "nothing was found in 8 frames"),
        (["--score", 1.0], 2, "between 0 and 1"),
    ],
)
def test_what_is_not_there_is_said(
    sure_model: Path, video: Path, tmp_path: Path, asked: list[object], code: int, said: str
):
    got, stdout, stderr = run(sure_model, video, "--out", tmp_path / "why", *asked)
    assert (got, stdout) == (code, "")
    assert said in stderr
    assert not (tmp_path / "why").exists()
    assert list(tmp_path.glob(".why*")) == []


def test_a_sequence_classifier_is_refused(video: Path, tmp_path: Path):
    config = ClassifierModelConfig(
        encoder="pixel_rows", lstm_width=8, dense_widths=(8,), input_size_wh=(32, 32)
    )
    model = tmp_path / "classifier.safetensors"
    save_classifier(model, build_classifier(config, 2), ClassifierCard(config, ("drone", "bird")))
    for asked in (["--out", tmp_path / "why"], ["--sequence", "--out", tmp_path / "why"], ["--list"]):
        code, stdout, stderr = run(model, video, *asked)
        assert (code, stdout) == (2, "")
        assert "classifier.safetensors is a sequence classifier: it has no boxes" in stderr
    assert not (tmp_path / "why").exists()


def test_nothing_is_overwritten_unless_told_so(sure_model: Path, video: Path, tmp_path: Path):
    out = tmp_path / "why"
    out.mkdir()
    (out / "explain.json").write_text("{}")
    assert run(sure_model, video, "--out", out)[0] == 2
    assert (out / "explain.json").read_text() == "{}"
    assert run(sure_model, video, "--out", out, "--force", "--boxes", 1, "--window", 2)[0] == 0
    assert (out / "explain.html").is_file()
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    code, _, stderr = run(sure_model, video, "--out", other, "--force")
    assert code == 2
    assert "not an explanation" in stderr


def test_moments_are_the_stream_and_the_track_memory_is_shown_what_is_said(sure_model: Path, video: Path):
    """From what ``track_inputs`` says the track memory comes to the very state that the stream holds."""
    model = load(sure_model, "cpu", "torch")
    with open_video(video) as reader:
        frames = list(reader)
    expected = [result.detections for result in model.results(frames)]
    watched = list(moments(model, frames))
    for moment, detections in zip(watched, expected, strict=True):
        assert moment.result.detections.boxes_xyxy_px == pytest.approx(detections.boxes_xyxy_px, abs=1e-3)
    seen = survey(model, watched)
    tracks, rows = watched[-1].after.tracks, watched[-1].after.detector.tracks
    # Boxes over the border of the picture are cut in the table of tracks: those inside must agree.
    agreed = 0
    for row, (_, last) in track_inputs(watched[-1], model.detector).items():
        shown = seen.of_tracks.get(int(tracks.track_ids[row]))
        if shown is None:
            continue
        assert torch.equal(shown.inputs[-1], last)
        state = model.detector.tracks.lstm.initial_state(1)
        with torch.no_grad():
            for x in shown.inputs:
                state = model.detector.tracks.lstm.step(x, state)
        agreed += torch.allclose(state.hidden[0], rows.hidden[0, row].clone(), atol=1e-4)
    assert agreed >= 1


def test_a_detector_without_memory_has_no_evidence(tmp_path: Path, video: Path):
    config = ModelConfig(
        encoder="resnet10",
        levels=(16,),
        channels=8,
        clip_width=8,
        track_width=8,
        memory=False,
        input_size_wh=(64, 64),
    )
    detector = build_detector(config, 2)
    with torch.no_grad():
        detector.heads.geometry.bias[0] = 1.0
    save_model(tmp_path / "m.safetensors", detector, ModelCard(config, ("drone", "bird")))
    code, stdout, _ = run(
        tmp_path / "m.safetensors", video, "--out", tmp_path / "why", "--boxes", 1, "--json"
    )
    assert code == 0
    assert json.loads(stdout)["boxes"][0]["evidence"] is None
