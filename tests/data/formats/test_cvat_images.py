from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cvat_texts import counted, document, entry, image, read, rows, shape, track, write

from seqdet.data.formats import cvat, cvat_images, cvat_xml, stills
from seqdet.data.formats.protocol import Problems
from seqdet.runs.ingest import ingest

ANNOTATIONS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
VECTORS = ANNOTATIONS / "datumaro" / "cvat_dataset"
Make = Callable[..., Path]


def test_numbered_images_are_a_video_and_others_are_stills(tmp_path: Path, make_images: Make) -> None:
    names = [f"walk_{number:03d}.png" for number in range(8, 14)]
    make_images(tmp_path / "images", [*names, "street.png"])
    images = [image(name, shape((number, 0, number + 5, 5))) for number, name in enumerate(names)]
    text = document(image("street.png", shape(label="drone"), shape()), *images, '<image name="none"/>')
    raw, problems = read(write(tmp_path, text.replace('<image name="none"/>', "")))
    found = {each.name: each for each in raw.sequences}
    assert sorted(found) == ["street", "walk"]
    assert rows(found["walk"]) == [(n, -1, 0, n, 0, n + 5, 5) for n in range(6)]
    assert rows(found["street"]) == [(0, -1, 0, 1, 2, 11, 12), (0, -1, 1, 1, 2, 11, 12)]
    assert found["walk"].size_wh == (64, 48)
    assert set(raw.notes) == {stills.VIDEOS, stills.STILLS}
    assert counted(problems) == {}


def test_one_name_in_two_subsets_is_two_sequences(tmp_path: Path, make_images: Make) -> None:
    names = [f"images/{subset}/{stem}.png" for subset in ("Train", "Test", "odd") for stem in ("a", "b")]
    make_images(tmp_path, names)
    text = document(
        *(
            image(f"{stem}.png", shape(), rest=f'subset="{subset}" id="0"')
            for subset in ("Train", "Test", "odd")
            for stem in ("a", "b")
        )
    )
    raw, _ = read(write(tmp_path, text))
    assert {each.name: each.split for each in raw.sequences} == {
        "Train_a": "train",
        "Train_b": "train",
        "Test_a": "test",
        "Test_b": "test",
        "odd_a": None,
        "odd_b": None,
    }
    assert any("'odd'" in note for note in raw.notes)


def test_images_that_are_frames_of_a_video_that_was_not_exported(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 6)
    text = document(
        image("frame_000002", shape()), image("frame_000003"), image("frame_000004", shape(), shape())
    )
    raw, _ = read(write(tmp_path, text))
    (sequence,) = raw.sequences
    assert (sequence.images, sequence.frame.tolist(), sequence.track_id.tolist()) == (
        None, [2, 4, 4], [-1, -1, -1],
    )  # fmt: skip


def test_images_of_a_video_lack_their_suffix_in_the_file(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", [f"frame_00000{number}.png" for number in range(6)])
    text = document(*(image(f"frame_00000{number}", shape()) for number in range(6)))
    raw, _ = read(write(tmp_path, text))
    assert [len(each.images or ()) for each in raw.sequences] == [6]


def test_images_with_tracks_are_the_frames_of_their_task(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", ["x.png", "y.png", "z.png"])
    text = document(
        image("z.png", rest='id="0"'),
        image("x.png", shape((1, 2, 11, 12)), shape((5, 5, 9, 9), "drone"), rest='id="1"'),
        image("y.png", rest='id="2"'),
        track(6, entry(0, (1, 2, 11, 12)), entry(1, (1, 2, 11, 12), 'keyframe="0"'), entry(2, outside=1)),
    )
    raw, problems = read(write(tmp_path, text))
    (sequence,) = raw.sequences
    assert [path.name for path in sequence.images or ()] == ["z.png", "x.png", "y.png"]
    assert rows(sequence) == [
        (0, 6, 0, 1, 2, 11, 12),
        (1, -1, 1, 5, 5, 9, 9),
        (1, 6, 0, 1, 2, 11, 12),
    ]
    assert counted(problems) == {cvat_images.IN_BOTH: 1}


def test_a_shape_without_a_label_is_left_out_and_an_error_when_strict(
    tmp_path: Path, make_images: Make
) -> None:
    make_images(tmp_path / "images", ["a.png"])
    write(tmp_path, document(image("a.png", shape(label=""), shape())))
    raw, problems = read(tmp_path)
    assert len(raw.sequences[0].frame) == 1
    assert counted(problems) == {cvat.NO_LABEL: 1}
    strict = Problems(strict=True)
    cvat.read(tmp_path, strict)
    assert strict.failed


def vectors(name: str) -> Path:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    return VECTORS / name


def test_the_video_of_datumaro() -> None:
    raw, problems = read(vectors("for_video"))
    (sequence,) = raw.sequences
    assert raw.classes == ("klhg", "z U k", "II")
    assert [path.name for path in sequence.images or ()] == [f"frame_0000{n}.png" for n in (10, 13, 16)]
    assert rows(sequence) == [(0, 0, 2, 3, 4, 10, 5)]
    assert sequence.name == "t"
    found = counted(problems)
    assert found[cvat.NO_IMAGE] == 1, "frame 19 is in meta only"
    assert (found[cvat_xml.LEFT_OUT["points"]], found[cvat_xml.LEFT_OUT["polyline"]]) == (1, 1)


def test_the_project_of_images_of_datumaro(tmp_path: Path) -> None:
    source = vectors("for_images") / "export_project"
    raw, problems = read(source)
    assert raw.classes == ("label1", "label2")
    by_file = {str(each.video.relative_to(source / "images")): each for each in raw.sequences}
    assert {name: each.split for name, each in by_file.items()} == {
        f"{subset}/img{number}.jpg": split
        for subset, split in (("Train", "train"), ("Validation", "val"), ("Test", "test"))
        for number in (0, 1)
    }
    for name, each in by_file.items():
        expected = [(0, -1, 0, 0, 2, 4, 4)] if "img0" in name else [(0, -1, 0, 1, 2, 6, 5)]
        assert rows(each) == expected
    assert counted(problems)[cvat_xml.BOUNDED["polygon"]] == 3
    report = ingest(source, tmp_path / "data", format="cvat")
    assert (report.boxes, report.splits) == (6, {"test": 2, "train": 2, "val": 2})


def test_the_task_of_images_of_datumaro() -> None:
    raw, problems = read(vectors("for_images") / "export_task")
    assert [rows(each) for each in raw.sequences] == [[(0, -1, 0, 0, 2, 4, 4)], []]
    assert counted(problems)[cvat.NO_LABEL] == 1, "the polygon has an empty label"


def test_other_formats_are_not_taken_for_cvat(tmp_path: Path) -> None:
    write(tmp_path, "<annotations><object/></annotations>", "other.xml")
    write(tmp_path, "<annotation><folder/></annotation>", "voc.xml")
    assert not cvat.sniff(tmp_path)
    assert not cvat.sniff(tmp_path / "nothing")
    if not ANNOTATIONS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    inside = [path for path in ANNOTATIONS.rglob("*") if cvat.sniff(path)]
    assert inside
    assert all(path.is_relative_to(VECTORS) or path == VECTORS.parent for path in inside)
