"""Long videos in parts: primed by all that was before, the rows are those of the uncut video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from in_process_engine import InProcess

from seqdet.runs import corpus
from seqdet.runs.corpus import CorpusOptions, detect_corpus
from seqdet.runs.corpus_cut import plan_parts, read_part
from seqdet.runs.corpus_values import Part
from seqdet.video.reader import open_video


@pytest.fixture
def run(make_video, model_path, tmp_path, monkeypatch):
    """Rows and account of one video of 200 frames, with keyframes at 50 and 100, cut or not."""
    make_video("long.mp4", frames=200)
    (tmp_path / "list.txt").write_text("long.mp4\n")
    monkeypatch.setattr(corpus, "_engine", lambda job, options, units: InProcess(job))

    def detect(name: str, cut_s: float, warm_frames: int):
        options = CorpusOptions(
            runtime="torch", device="cpu", score=0.001, cut_minutes=cut_s / 60, warm_frames=warm_frames
        )
        report = detect_corpus(tmp_path / "list.txt", tmp_path / name, model_path, options)
        (path,) = (tmp_path / name).glob("rows/*/*.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()], report

    return detect


def test_primed_by_all_frames_before_it_is_the_uncut_video(run, tmp_path):
    uncut, report = run("uncut", 0, 0)
    cut, of_cut = run("cut", 2, 1000)
    *rows, sequence = uncut
    *cut_rows, cut_sequence = cut
    assert len(rows) > 200
    assert cut_rows == rows
    assert {key: cut_sequence[key] for key in ("frames", "duration_s", "label")} == {
        key: sequence[key] for key in ("frames", "duration_s", "label")
    }
    assert cut_sequence["score"] == pytest.approx(sequence["score"], abs=2e-4)
    assert [track["track_id"] for track in cut_sequence["tracks"]] == [
        t["track_id"] for t in sequence["tracks"]
    ]
    assert [track["detections"] for track in cut_sequence["tracks"]] == [
        t["detections"] for t in sequence["tracks"]
    ]
    for name in ("frames", "decoded", "detections", "tracks", "video_hours"):
        assert getattr(of_cut, name) == getattr(report, name), name
    assert not (tmp_path / "cut/parts").exists()


def test_with_few_frames_before_each_frame_has_its_rows_once(run):
    cut, report = run("cut", 2, 8)
    *rows, sequence = cut
    assert report.frames == sequence["frames"] == 200
    frames = [row["frame"] for row in rows]
    assert frames == sorted(frames)
    assert len(rows) == report.detections
    known = {track["track_id"] for track in sequence["tracks"]}
    assert {row["track_id"] for row in rows} - {-1} <= known
    assert len(known) == len(sequence["tracks"])


def test_parts_lie_at_keyframes_and_hold_every_frame_once(make_video, tmp_path):
    path = make_video("long.mp4", frames=200)
    parts = plan_parts(path, 2.0, 30, tmp_path / "plan")
    assert parts == (Part(0, 0, 50), Part(20, 50, 100), Part(70, 100, 200))
    with open_video(path) as reader:
        truth = list(reader)
    for part in parts:
        frames = list(read_part(path, part, tmp_path / "plan"))
        assert [frame.index for frame in frames] == list(range(part.warm, part.last))
        assert all((frame.rgb == truth[frame.index].rgb).all() for frame in frames)


@pytest.mark.parametrize("kind", ["short", "folder"])
def test_what_is_short_or_no_file_is_not_cut(make_video, tmp_path, kind):
    path = make_video("short.mp4", frames=60) if kind == "short" else tmp_path
    assert plan_parts(Path(path), 2.0, 30, tmp_path / "plan") == ()
    assert not (tmp_path / "plan").exists()
