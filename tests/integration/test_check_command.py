"""``seqdet check`` on whole data sets: what it finds, what it writes, and that it changes nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from seqdet.cli import app as face
from seqdet.data.dataset import Sequence, load_dataset, save_dataset
from seqdet.data.labels import Labels
from seqdet.errors import UsageError
from seqdet.runs.check import check

CLASSES = ("bird", "<drone>")
FRAMES = 20
SIZE_WH = (64, 48)
LABELS = "labels/a.csv"


def scene(seed: int) -> np.ndarray:
    """A picture of soft blobs, wider than a frame."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 30, 3)).astype(np.uint8)
    return cv2.resize(coarse, (SIZE_WH[0] * 4, SIZE_WH[1]), interpolation=cv2.INTER_CUBIC)


def write_video(path: Path, wide: np.ndarray, step_px: int = 0, frames: int = FRAMES) -> Path:
    """A camera that moves over a wide picture, as motion JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE_WH)
    for index in range(frames):
        left = index * step_px
        writer.write(np.ascontiguousarray(wide[:, left : left + SIZE_WH[0]]))
    writer.release()
    return path


def track(resting: bool = False) -> Labels:
    """A box of 8x6 that moves a pixel each frame, or none."""
    frame = np.arange(FRAMES)
    left = np.full(FRAMES, 20.0) if resting else 20.0 + frame
    boxes = np.stack([left, np.full(FRAMES, 9.0), left + 8, np.full(FRAMES, 15.0)], axis=1)
    return Labels.from_columns(frame, np.full(FRAMES, 1), np.full(FRAMES, 0), boxes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips in train and one in val, with nothing wrong."""
    items = []
    for seed, (name, split) in enumerate((("a", "train"), ("b", "train"), ("c", "val"))):
        video = write_video(tmp_path / "source" / f"{name}.avi", scene(seed))
        items.append((Sequence(name, video, FRAMES, SIZE_WH, 10.0, 0, f"r-{name}", split), None, track()))
    save_dataset(tmp_path / "data", CLASSES, items, notes=["made by hand"])
    return tmp_path / "data"


def append(data: Path, *rows: str) -> None:
    with (data / LABELS).open("a") as file:
        file.write("".join(f"{row}\n" for row in rows))


def edit(data: Path, old: str, new: str, file: str = "dataset.json") -> None:
    text = (data / file).read_text()
    assert old in text
    (data / file).write_text(text.replace(old, new, 1))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kinds(data: Path, **options) -> set[tuple[str, str]]:
    return {(finding.kind, finding.severity) for finding in check(data, **options).found}


def test_a_clean_set_has_no_finding_and_its_counts(data: Path):
    calls: list[tuple[str, int, int]] = []
    report = check(data, progress=lambda *call: calls.append(call))
    assert report.found == ()
    assert (report.errors, report.errors_left, report.fixed, report.page) == (0, 0, None, None)
    assert list(report.counts) == ["train", "val", "all"]
    assert (report.counts["train"].boxes, report.counts["all"].frames) == (40, 60)
    assert calls == [(stage, done, 3) for stage in ("labels", "videos") for done in (1, 2, 3)]
    assert check(data, quick=True).found == ()


def plant_copy(data: Path) -> None:
    (data / "videos/c.avi").write_bytes((data / "videos/a.avi").read_bytes())


def plant_twin(data: Path) -> None:
    (data / "videos/b.avi").write_bytes((data / "videos/a.avi").read_bytes())


def plant_likeness(data: Path) -> None:
    brighter = np.clip(scene(0).astype(int) * 0.9 + 12, 0, 255).astype(np.uint8)
    write_video(data / "videos/c.avi", brighter)


def plant_resting_box(data: Path) -> None:
    write_video(data / "videos/a.avi", scene(7), step_px=9)
    rows = "".join(f"{frame},1,bird,20,9,28,15\n" for frame in range(FRAMES))
    (data / LABELS).write_text("frame,track_id,class,left,top,right,bottom\n" + rows)


OUTSIDE = {("outside", "error"), ("repeat", "error"), ("short-track", "warning")}
FAULTS: dict[str, tuple[Callable[[Path], None], set[tuple[str, str]], bool]] = {
    "outside": (lambda d: append(d, "3,1,bird,60,9,70,15"), OUTSIDE, True),
    "row": (lambda d: append(d, "3,1,plane,60,9,70,15"), {("row", "error")}, True),
    "leak": (lambda d: edit(d, '"r-c"', '"r-a"'), {("leak", "error")}, True),
    "frame-count": (lambda d: edit(d, '"frames": 20', '"frames": 25'), {("frame-count", "error")}, True),
    "fps": (lambda d: edit(d, '"fps": 10.0', '"fps": 30'), {("fps", "warning")}, True),
    "size": (lambda d: edit(d, "[64, 48]", "[128, 96]"), {("size", "error")}, True),
    "video": (lambda d: (d / "videos/a.avi").write_bytes(b"no video"), {("video", "error")}, True),
    "empty video": (lambda d: (d / "videos/a.avi").write_bytes(b""), {("video", "error")}, True),
    "same-file": (plant_twin, {("same-file", "warning")}, True),
    "copy": (plant_copy, {("same-file", "error"), ("alike", "warning")}, False),
    "alike": (plant_likeness, {("alike", "warning")}, False),
    "still-box": (plant_resting_box, {("still-box", "warning")}, False),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(data: Path, fault: str):
    plant, expected, in_quick = FAULTS[fault]
    plant(data)
    before = state(data)
    assert kinds(data) == expected
    if in_quick:
        assert kinds(data, quick=True) == expected
    else:
        assert kinds(data, quick=True) <= expected
    assert state(data) == before


def test_a_leak_that_ingest_was_told_to_allow_is_a_warning(data: Path):
    edit(data, '"r-c"', '"r-a"')
    edit(data, '"made by hand"', '"LEAK, allowed by the user: 1 recordings are in more than one split"')
    assert kinds(data, quick=True) == {("leak", "warning")}


def test_fix_writes_a_copy_that_is_clean_and_leaves_the_data_set_alone(data: Path, tmp_path: Path):
    text = (data / LABELS).read_text().splitlines()
    (data / LABELS).write_text(
        "\n".join([*text[:6], *text[7:], "9,1,bird,29,9,37,15", "2,4,bird,50,40,70,60"]) + "\n"
    )
    before = state(data)
    report = check(data, fix=tmp_path / "fixed")
    assert state(data) == before
    assert (report.errors, report.errors_left, report.fixed) == (2, 0, tmp_path / "fixed")
    assert report.repairs == {"repeat: kept once": 1, "outside: clipped": 1, "gap: interpolated": 1}
    fixed = load_dataset(tmp_path / "fixed")
    assert fixed.notes[0] == "made by hand"
    assert "seqdet check --fix, gap: interpolated (1)" in fixed.notes
    labels = fixed.labels(fixed.sequences[0])
    assert labels.at(5).boxes_xyxy_px.tolist() == [[25, 9, 33, 15]]
    assert labels.at(2).boxes_xyxy_px.tolist() == [[22, 9, 30, 15], [50, 40, 64, 48]]
    assert (tmp_path / "fixed/videos/a.avi").resolve() == (data / "videos/a.avi").resolve()
    for other, mine in zip(load_dataset(data).sequences[1:], fixed.sequences[1:], strict=True):
        assert fixed.labels_path(mine).read_bytes() == (data / "labels" / f"{other.name}.csv").read_bytes()
    assert check(tmp_path / "fixed", quick=True).errors == 0


def test_fix_sets_the_number_of_frames_where_no_label_is_lost(data: Path, tmp_path: Path):
    edit(data, '"frames": 20', '"frames": 25')
    assert check(data, fix=tmp_path / "fixed", quick=True).errors_left == 0
    assert load_dataset(tmp_path / "fixed").sequences[0].frames == FRAMES


def test_fix_refuses_rows_that_it_cannot_keep(data: Path, tmp_path: Path):
    append(data, "3,1,plane,60,9,70,15")
    report = check(data, fix=tmp_path / "fixed", quick=True)
    assert (report.fixed, report.blocked, report.errors_left) == (None, 1, 1)
    assert not (tmp_path / "fixed").exists()


def test_folders_of_images_are_checked_and_linked(tmp_path: Path):
    images = []
    for index in range(FRAMES):
        images.append(tmp_path / "source" / f"{index}.png")
        images[-1].parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(images[-1]), scene(0)[:, index : index + SIZE_WH[0]])
    sequence = Sequence("a", tmp_path / "source", FRAMES, SIZE_WH, 10.0)
    save_dataset(tmp_path / "data", CLASSES, [(sequence, tuple(images), track())])
    assert check(tmp_path / "data", fix=tmp_path / "fixed").found == ()
    links = sorted((tmp_path / "fixed/videos/a").iterdir())
    assert [link.resolve().name for link in links] == [f"{index:06d}.png" for index in range(FRAMES)]
    (tmp_path / "data/videos/a/000007.png").unlink()
    assert kinds(tmp_path / "data", quick=True) == {("frame-count", "error")}


def test_pictures_that_two_splits_share_are_found_in_folders_byte_for_byte_and_by_look(tmp_path: Path):
    """One is copied, one saved anew, and a black one, which says nothing, is in all."""
    wide = {name: scene(seed) for seed, name in enumerate("abc")}
    items = []
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        images = []
        for index in range(FRAMES):
            other = {("b", 13): ("a", 6), ("c", 2): ("a", 17)}.get((name, index), (name, index))
            picture = wide[other[0]][:, 9 * other[1] :][:, : SIZE_WH[0]]
            path = tmp_path / name / f"{index:06d}.png"
            path.parent.mkdir(exist_ok=True)
            if (name, index) == ("c", 2):
                picture = cv2.imdecode(cv2.imencode(".jpg", picture)[1], cv2.IMREAD_COLOR)
            assert cv2.imwrite(str(path), np.zeros_like(picture) if index == 11 else picture)
            images.append(path)
        sequence = Sequence(name, tmp_path / name, FRAMES, SIZE_WH, 10.0, 0, f"r-{name}", split)
        items.append((sequence, tuple(images), track()))
    save_dataset(tmp_path / "data", CLASSES, items)
    found = [finding for finding in check(tmp_path / "data").found if finding.kind != "duplicate-box"]
    assert {(each.kind, each.severity, each.file, each.frame) for each in found} == {
        ("same-file", "warning", "videos/b/000013.png", None),
        ("alike", "warning", "videos/b", 13),
        ("alike", "warning", "videos/c", 2),
    }
    assert any(
        "the same file as videos/a/000006.png, in val and train; so are 1 of its 20" in f.message
        for f in found
    )
    assert kinds(tmp_path / "data", quick=True) == {("same-file", "warning")}
    for index in range(9):
        (tmp_path / f"data/videos/c/{index:06d}.png").write_bytes(
            (tmp_path / f"a/{index:06d}.png").read_bytes()
        )
    assert kinds(tmp_path / "data", quick=True) == {("same-file", "warning")}
    (tmp_path / "data/videos/c/000009.png").write_bytes((tmp_path / "a/000009.png").read_bytes())
    assert kinds(tmp_path / "data", quick=True) == {("same-file", "warning"), ("same-file", "error")}


@pytest.mark.parametrize("option", ["fix", "out"])
def test_nothing_is_written_into_the_data_set(data: Path, option: str):
    for place in (data, data / "sub"):
        with pytest.raises(UsageError, match="never changes"):
            check(data, quick=True, force=True, **{option: place})


def test_what_exists_is_replaced_only_with_force(data: Path, tmp_path: Path):
    places = {"fix": tmp_path / "fixed", "out": tmp_path / "out"}
    check(data, quick=True, **places)
    for option, place in places.items():
        with pytest.raises(UsageError, match="exists"):
            check(data, quick=True, **{option: place})
    check(data, quick=True, force=True, **places)


def test_the_page_holds_all_that_it_shows(data: Path, tmp_path: Path):
    append(data, "3,2,<drone>,40,30,50,40")
    plant_likeness(data)
    page = check(data, out=tmp_path / "out").page
    assert page is not None
    text = page.read_text()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["check.html"]
    assert "short-track" in text
    assert "&lt;drone&gt;" in text
    assert "<drone>" not in text
    sources = re.findall(r'(?:src|href)="([^"#]{1,40})', text)
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    # Samples of bird in train and val and of the drone, the finding, and both sides of the likeness.
    assert len(sources) >= 6
    assert text.count("<svg") == 4
    quick = check(data, out=tmp_path / "quick", quick=True).page
    assert quick is not None
    assert "<img" not in quick.read_text()


def run(*arguments: str):
    return CliRunner().invoke(face.build(), ["check", *arguments], prog_name="seqdet", env={"COLUMNS": "100"})


def test_the_command_says_it_and_ends_with_0_or_3(data: Path, tmp_path: Path):
    ran = run(str(data), "--quick", "--quiet")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "nothing is wrong" in ran.stdout
    assert "boxes of bird" in ran.stdout
    append(data, *["3,5,bird,9,9,9,9"] * 25)
    ran = run(str(data), "--quick", "--quiet")
    assert ran.exit_code == 3
    assert ran.stderr == f"error: {data}: 25 errors\n"
    assert ran.stdout.count("empty-box") == 1
    assert ran.stdout.count("labels/a.csv:") == 20
    assert "... and 5 more" in ran.stdout
    ran = run(str(data), "--quick", "--quiet", "--fix", str(tmp_path / "fixed"))
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "repaired empty-box: dropped (25)" in ran.stdout
    append(data, "3,5,plane,9,9,9,9")
    ran = run(str(data), "--quick", "--quiet", "--fix", str(tmp_path / "other"))
    assert ran.exit_code == 3
    assert "1 rows have no safe repair" in ran.stderr


def test_json_is_one_object_with_all_findings(data: Path):
    append(data, *["3,5,bird,9,9,9,9"] * 25)
    ran = run(str(data), "--quick", "--json", "--quiet")
    assert ran.exit_code == 3
    report = json.loads(ran.stdout)
    assert (report["errors"], len(report["found"])) == (25, 25)
    assert report["found"][0] == {
        "kind": "empty-box",
        "severity": "error",
        "file": "labels/a.csv",
        "line": 22,
        "frame": 3,
        "message": "no width or no height: 9, 9, 9, 9",
        "repair": "dropped",
    }


def test_a_folder_that_is_no_data_set_is_an_input_error(tmp_path: Path):
    ran = run(str(tmp_path), "--quick")
    assert ran.exit_code == 3
    assert "is not a data set" in ran.stderr
