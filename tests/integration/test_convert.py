"""``seqdet convert`` as a whole: there and back again, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.data.dataset import Dataset, Sequence, load_dataset, save_dataset
from seqdet.data.export import WRITERS
from seqdet.data.export.yolo import NO_VAL
from seqdet.data.formats import FORMATS
from seqdet.data.labels import Labels
from seqdet.errors import OutputError
from seqdet.runs import convert as story
from seqdet.runs.convert import MARK, SCORES, convert
from seqdet.runs.ingest import ingest

CLASSES = ("bird", "drone")
ROW: dict[str, Any] = {
    "type": "detection", "source": "sky.mp4", "frame": 1, "time_s": 0.04, "track_id": 1, "label": "drone",
    "score": 0.5, "track_label": "drone", "track_score": 0.5, "box_xyxy_px": [1.25, 2, 30.5, 40],
}  # fmt: skip


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(build(), ["convert", *map(str, arguments)])


@pytest.fixture
def dataset(tmp_path: Path, make_video: Callable[..., Path]) -> Dataset:
    """Two sequences of ten frames: two objects, one of which goes and comes back; no object."""
    boxes = np.array([[1, 2, 11.5, 12], [2, 2, 12, 12.125], [3, 2, 64, 48], [4.001, 5, 6, 7]], np.float32)
    labels = Labels(np.array([0, 1, 1, 7]), np.array([0, 0, 5, 0]), np.array([0, 0, 1, 0]), boxes)
    video, other = make_video("made.mp4"), tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes() + b"\0\0\0\x08free")  # the same video in two splits is refused
    made = save_dataset(
        tmp_path / "data",
        CLASSES,
        [
            (
                Sequence("one", video, 10, (64, 48), 25.0, 1, "take", "train", {"sensor": "thermal"}),
                None,
                labels,
            ),
            (Sequence("two", other, 10, (64, 48), 25.0, -1, "two", "val"), None, Labels.empty()),
        ],
    )
    other.unlink()
    return made


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("videos", ["copy", "link"])
def test_a_data_set_comes_back(dataset: Dataset, tmp_path: Path, to: str, videos: str) -> None:
    report = convert(dataset.root, tmp_path / "out", to=to, videos=videos)
    assert (report.sequences, report.frames, report.boxes, report.tracks) == (2, 20, 4, 2)
    if to not in FORMATS:
        pytest.skip(f"there is no reader of {to} yet")
    back = ingest(tmp_path / "out", tmp_path / "back")
    assert (back.format, back.splits) == (to, {"train": 1, "val": 1})
    again = load_dataset(tmp_path / "back")
    for before, after in zip(dataset.sequences, again.sequences, strict=True):
        assert after.name.removeprefix(f"{after.split}_") == before.name
        assert (after.frames, after.size_wh, after.fps, after.split) == (10, (64, 48), 25.0, before.split)
        assert after.video.read_bytes() == before.video.read_bytes()
        want, got = dataset.labels(before), again.labels(after)
        np.testing.assert_array_equal(got.frame, want.frame)
        np.testing.assert_allclose(got.boxes_xyxy_px, want.boxes_xyxy_px, atol=0.01)
        assert [again.classes[k] for k in got.class_id] == [CLASSES[k] for k in want.class_id]
        if to != "yolo":
            np.testing.assert_array_equal(got.track_id, want.track_id)
    if to == "mot":  # it loses nothing
        assert again.sequences[0].class_id == again.classes.index("drone")
        assert (again.sequences[0].recording, again.sequences[0].attributes) == (
            "take", {"sensor": "thermal"},
        )  # fmt: skip
        assert report.notes == ()


@pytest.mark.parametrize("to", WRITERS)
def test_labels_alone_by_default_and_notes_on_stderr(dataset: Dataset, tmp_path: Path, to: str) -> None:
    ran = run(dataset.root, tmp_path / "out", "--to", to, "--json")
    assert ran.exit_code == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert [shown[key] for key in ("format", "boxes", "tracks")] == [to, 4, 2]
    assert ("track ids dropped (1 sequence)" in shown["notes"]) == (to == "yolo")
    for note in shown["notes"]:
        assert f"note: {note}\n" in ran.stderr
        assert f"- {note}\n" in (tmp_path / "out" / MARK).read_text()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "made.mp4", "out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_a_folder_is_replaced_only_with_force_and_only_if_made_here(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert run(dataset.root, out, "--to", "mot").exit_code == 0, "an empty folder is as good as none"
    again = run(dataset.root, out, "--to", "cvat")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "--force" in again.stderr
    assert (out / "classes.txt").exists()
    assert run(dataset.root, out, "--to", "cvat", "--force").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [MARK, "one.xml", "two.xml"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    for folder in (tmp_path / "mine", dataset.root, tmp_path):
        refused = run(dataset.root, folder, "--to", "mot", "--force")
        assert refused.exit_code == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert len(load_dataset(dataset.root).sequences) == 2


def test_a_disk_that_fails_leaves_nothing_and_harms_nothing(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(dataset.root, tmp_path / "out", to="mot")

    def fail(*_: object, **__: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(story, "place_media", fail)
    with pytest.raises(OutputError, match="No space left"):
        convert(dataset.root, tmp_path / "out", to="coco-vid", videos="copy", force=True)
    assert (tmp_path / "out" / "classes.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "made.mp4", "out"]


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("to", ["mot", "coco-vid"])
def test_detections_can_be_corrected_and_ingested(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    make_video("sky.mp4")
    rows = write_rows(
        tmp_path / "rows.jsonl",
        {**ROW, "frame": 0, "track_id": -1, "track_label": ""},
        ROW,
        {**ROW, "frame": 2, "label": "bird", "box_xyxy_px": [2, 2, 64, 48.01]},
        {"type": "sequence", "source": "sky.mp4", "frames": 3, "label": "drone"},
    )
    monkeypatch.chdir(tmp_path.parent)  # the video is found beside the rows as well
    ran = run(rows, tmp_path / "out", "--to", to, "--videos", "link", "--json")
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["frames"], report["boxes"], report["tracks"]) == (10, 3, 2)
    assert SCORES in report["notes"]
    assert any("3 of 10 frames" in note for note in report["notes"])
    reasons = [entry["reason"].split(":")[0] for entry in report["dropped"]]
    assert reasons == [
        "box whose frame names another class than its track ended with",
        "box partly outside the frame",
        "no track id",
    ]
    ingest(tmp_path / "out", tmp_path / "back")
    again = load_dataset(tmp_path / "back")
    labels = again.labels(again.sequences[0])
    assert again.classes == ("bird", "drone")
    assert (again.sequences[0].name, again.sequences[0].frames) == ("sky", 10)
    assert labels.frame.tolist() == [0, 1, 2]
    assert labels.track_id.tolist() == [2, 1, 1]
    assert labels.class_id.tolist() == [1, 1, 1]
    np.testing.assert_allclose(labels.boxes_xyxy_px[1:], [[1.25, 2, 30.5, 40], [2, 2, 64, 48]])


def test_a_csv_of_frames_and_a_video_that_moved(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    make_video("moved.mp4", frames=4)
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "source,frame,time_s,track_id,label,score,track_label,track_score,x1_px,y1_px,x2_px,y2_px\n"
        "/gone/sky: 1.mp4,3,0.1,1,bird,0.5,bird,0.5,1,2,3,4\n"
    )
    missing = run(rows, tmp_path / "out", "--to", "yolo")
    assert missing.exit_code == 3
    assert "--video" in missing.stderr
    assert not (tmp_path / "out").exists()
    ran = run(rows, tmp_path / "out", "--to", "yolo", "--video", tmp_path / "moved.mp4")
    assert ran.exit_code == 0, ran.stderr
    assert f"note: {NO_VAL}\n" in ran.stderr
    assert len(list((tmp_path / "out" / "labels").glob("moved_*.txt"))) == 4
    assert (tmp_path / "out" / "labels" / "moved_000004.txt").read_text().startswith("0 0.03125")


def test_videos_of_several_sources_are_found_by_name(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [make_video(name, frames=3) for name in ("a/sky.mp4", "b/sky.mp4", "sea.mp4")]
    named = [{**ROW, "source": str(path)} for path in paths[:2]]
    rows = write_rows(tmp_path / "rows.jsonl", *named, {**ROW, "source": "/gone/sea.mp4"})
    report = convert(rows, tmp_path / "out", to="cvat", video=[paths[2]])
    assert report.sequences == 3
    names = sorted(path.name for path in (tmp_path / "out").glob("*.xml"))
    assert names == ["sea.xml", "sky.xml", "sky_2.xml"]
    for wrong in (["--video", tmp_path / "none.mp4"], ["--video", paths[2], "--video", rows]):
        assert run(rows, tmp_path / "other", "--to", "cvat", *wrong).exit_code == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "there is no detection in it"),
        (json.dumps({**ROW, "frame": 10}) + "\n", "rows.jsonl:1: frame: 10 is not a frame of sky.mp4"),
        (
            json.dumps({**ROW, "box_xyxy_px": [float("nan"), 1, 2, 3]}) + "\n",
            "rows.jsonl:1: box: a",
        ),
        (json.dumps({**ROW, "source": "rtsp://10.0.0.1/sky"}) + "\n", "is not there (or is a stream)"),
        (json.dumps({**ROW, "source": "/dev/video0"}) + "\n", "is not there (or is a stream)"),
        (json.dumps({**ROW, "source": "x" * 5000}) + "\n", "is not there (or is a stream)"),
        (json.dumps({**ROW, "source": "a\0b"}) + "\n", "is not there (or is a stream)"),
        (json.dumps({**ROW, "source": "rows.jsonl"}) + "\n", "its video cannot be read"),
        ('{"type": ', "rows.jsonl:1: not valid JSON"),
    ],
)
def test_rows_that_cannot_be_used_end_with_3_and_leave_nothing(
    tmp_path: Path, make_video: Callable[..., Path], content: str, says: str
) -> None:
    make_video("sky.mp4")
    (tmp_path / "rows.jsonl").write_text(content)
    ran = run(tmp_path / "rows.jsonl", tmp_path / "out", "--to", "mot")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert says in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "sky.mp4"]


def test_what_is_no_source_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "notes.txt").touch()
    for source, code in ((tmp_path / "none", 3), (tmp_path / "notes.txt", 3), (tmp_path, 3)):
        assert run(source, tmp_path / "data2" / "out", "--to", "mot").exit_code == code
    assert run(dataset.root, tmp_path / "out", "--to", "kitti").exit_code == 2
    assert run(dataset.root, tmp_path / "out", "--to", "mot", "--video", tmp_path / "made.mp4").exit_code == 2
    assert not (tmp_path / "out").exists()
