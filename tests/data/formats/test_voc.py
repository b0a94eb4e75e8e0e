from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, stills, voc, voc_xml
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations" / "datumaro"
Make = Callable[..., Path]


def item(name: str, box: tuple[object, ...] = (3, 5, 10, 20), **fields: object) -> str:
    """An <object> on four lines."""
    rest = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(voc_xml.SIDES, box, strict=True))
    return f"<object>\n<name>{escape(name)}</name>{rest}\n<bndbox>{sides}</bndbox>\n</object>\n"


def xml(*objects: str, filename: str = "", size: str = "") -> str:
    name = f"<filename>{escape(filename)}</filename>\n" if filename else ""
    return f"<annotation>\n{name}{size}{''.join(objects)}</annotation>\n"


SIZE = "<size><width>64</width><height>48</height><depth>3</depth></size>\n"


def write(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def read(source: Path, strict: bool = False) -> tuple[RawDataset, Problems]:
    problems = Problems(strict)
    assert choose_format(source) is voc
    raw = voc.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def counts(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    """Three pictures of 64x48: a and b in train, c in val."""
    root = tmp_path / "VOC"
    make_images(root / "JPEGImages", ["a.png", "b.png", "c.png"])
    write(
        root,
        **{
            "ImageSets/Main/train.txt": "a\r\n# words\r\n\r\nb  1\r\n",
            "ImageSets/Main/val.txt": "c -1\n",
            "ImageSets/Main/cat_train.txt": "a 1\nb -1\n",
            "Annotations/a.xml": xml(item("cat", (1, 1, 64, 48), difficult=1), item("dog"), size=SIZE),
            "Annotations/b.xml": xml(item("ant", (2.5, 3, 2.5, 10.25), truncated=1, pose="Left")),
            "Annotations/c.xml": "\ufeff" + xml(item("dog", (63, 47, 64, 48))),
        },
    )
    return root


def test_pixels_count_from_one_and_the_last_belongs_to_the_box(source: Path) -> None:
    raw, problems = read(source)
    assert raw.classes == ("ant", "cat", "dog")
    a, b, c = raw.sequences
    assert (a.name, a.split, b.split, c.split) == ("JPEGImages_a", "train", "train", "val")
    assert a.class_id.tolist() == [1, 2]
    assert a.boxes_xyxy_px.tolist() == [[0, 0, 64, 48], [2, 4, 10, 20]], "the first is the whole picture"
    assert b.boxes_xyxy_px.tolist() == [[1.5, 2, 2.5, 10.25]]
    assert c.boxes_xyxy_px.tolist() == [[62, 46, 64, 48]]
    assert a.track_id.tolist() == [-1, -1]
    assert (a.size_wh, b.size_wh) == ((64, 48), None)
    assert (a.attributes, b.attributes) == ({"difficult": "1"}, {"truncated": "1"})
    assert a.place(1).endswith("Annotations/a.xml:7")
    assert set(raw.notes) == {stills.STILLS, voc.FROM_ONE}
    assert counts(problems) == {voc.MARKED.format("difficult"): 1, voc.MARKED.format("truncated"): 1}


def test_ingested_box_by_box(source: Path, tmp_path: Path) -> None:
    report = ingest(source, tmp_path / "out")
    assert (report.format, report.frames, report.boxes, report.splits) == (
        "voc",
        3,
        4,
        {"train": 2, "val": 1},
    )
    dataset = load_dataset(tmp_path / "out")
    boxes = {each.name: dataset.labels(each).boxes_xyxy_px.tolist() for each in dataset.sequences}
    assert boxes == {
        "JPEGImages_a": [[0, 0, 64, 48], [2, 4, 10, 20]],
        "JPEGImages_b": [[1.5, 2, 2.5, 10.25]],
        "JPEGImages_c": [[62, 46, 64, 48]],
    }
    assert len(dataset.where(difficult="1").sequences) == 1


def test_a_coordinate_of_zero_shows_that_they_count_from_zero(source: Path) -> None:
    write(source, **{"Annotations/c.xml": xml(item("dog", (0, 5, 64, 48)))})
    raw, _ = read(source)
    assert raw.sequences[2].boxes_xyxy_px.tolist() == [[0, 5, 64, 48]]
    assert raw.sequences[0].boxes_xyxy_px.tolist() == [[1, 1, 64, 48], [3, 5, 10, 20]]
    assert voc.FROM_ZERO in raw.notes


def test_parts_are_passed_over(source: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    text = xml(item("dog").replace("</object>", part + "</object>")).replace(
        "<object>", "<!-- <object> --><object>"
    )
    write(source, **{"Annotations/c.xml": text})
    raw, _ = read(source)
    assert raw.sequences[2].boxes_xyxy_px.tolist() == [[2, 4, 10, 20]]
    assert raw.sequences[2].row.tolist() == [2], "a comment with <object> in it does not shift the lines"


def test_files_beside_images_in_folders_of_splits(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path, ["train/a.png", "valid/b.c.png", "test/d.png"])
    write(tmp_path, **{"train/a.xml": xml(item("x"), filename="a.png"), "valid/b.c.xml": xml(item("x"))})
    raw, _ = read(tmp_path)
    assert [(each.name, each.split) for each in raw.sequences] == [("train_a", "train"), ("valid_b.c", "val")]
    write(tmp_path, **{"test/other.xml": xml(item("x"), filename="d.png", size=SIZE)})
    assert [each.name for each in read(tmp_path)[0].sequences] == ["test_d", "train_a", "valid_b.c"]
    make_images(tmp_path, ["test/e.png"])
    assert counts(read(tmp_path)[1]) == {voc.NO_XML: 1}


def test_frames_numbered_one_by_one_are_a_video(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "JPEGImages", [f"frame_{number:06d}.png" for number in range(7)])
    write(tmp_path, **{f"Annotations/frame_{n:06d}.xml": xml(*[item("x")] * (n % 2)) for n in range(7)})
    (sequence,) = read(tmp_path)[0].sequences
    assert sequence.frame.tolist() == [1, 3, 5]
    assert len(sequence.images or ()) == 7
    assert sequence.place(2).endswith("Annotations/frame_000005.xml:2")


def test_what_lists_leave_out_is_counted(source: Path) -> None:
    write(source, **{"ImageSets/Main/train.txt": "a\nlost\n", "ImageSets/Main/test.txt": "a\n"})
    raw, problems = read(source)
    assert [each.split for each in raw.sequences] == ["train", "val"]
    found = counts(problems)
    assert found[voc.NOT_LISTED] == 1
    assert found[voc.LISTED_WITHOUT] == 1
    assert found[voc.IN_TWO_LISTS] == 1
    with pytest.raises(InputError, match="two splits"):
        read(source, strict=True)


@pytest.fixture
def vid(tmp_path: Path, make_images: Make) -> Path:
    """Two snippets of ImageNet-VID with six and two frames."""
    root = tmp_path / "ILSVRC"
    train, val = (
        "VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000",
        "VID/val/ILSVRC2015_val_00000001",
    )
    make_images(
        root / "Data", [f"{train}/{n:06d}.png" for n in range(6)] + [f"{val}/{n:06d}.png" for n in range(2)]
    )
    for number in range(6):
        objects = [
            item(
                "n02691156", (number, 0, 20 + number, 48), trackid=0, occluded=int(number == 2), generated=1
            ),
            item("n02062744", (30, 5, 40, 9), trackid=3, occluded=0, generated=0),
        ][: 2 - number % 2]
        write(
            root,
            **{f"Annotations/{train}/{number:06d}.xml": xml(*objects, filename=f"{number:06d}", size=SIZE)},
        )
    for number in range(2):
        write(root, **{f"Annotations/{val}/{number:06d}.xml": xml(filename=f"{number:06d}", size=SIZE)})
    return root


def test_imagenet_vid(vid: Path, tmp_path: Path) -> None:
    raw, problems = read(vid)
    assert raw.classes == ("airplane", "whale")
    train, val = raw.sequences
    assert (train.name, train.split) == ("ILSVRC2015_train_00000000", "train")
    assert (val.name, val.split, len(val.images or ())) == ("ILSVRC2015_val_00000001", "val", 2)
    assert train.frame.tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5]
    assert train.track_id.tolist() == [0, 3, 0, 0, 3, 0, 0, 3, 0]
    assert train.boxes_xyxy_px[2].tolist() == [1, 0, 21, 48], "counted from 0"
    assert train.place(8).endswith("ILSVRC2015_train_00000000/000005.xml:4")
    assert counts(problems) == {voc.MARKED.format("occluded"): 1, voc.MARKED.format("generated"): 6}
    report = ingest(vid, tmp_path / "out")
    assert (report.boxes, report.tracks, report.frames, report.splits) == (9, 2, 8, {"train": 1, "val": 1})
    dataset = load_dataset(tmp_path / "out")
    labels = dataset.labels(dataset.split("train")[0])
    assert labels.track_id.tolist() == train.track_id.tolist()
    assert labels.boxes_xyxy_px.tolist() == train.boxes_xyxy_px.tolist()


def test_a_frame_of_vid_without_labels_is_a_repair(vid: Path) -> None:
    next(vid.rglob("ILSVRC2015_train_00000000/000001.xml")).unlink()
    raw, problems = read(vid)
    assert raw.sequences[0].frame.tolist() == [0, 0, 2, 2, 3, 4, 4, 5]
    assert counts(problems)[voc.NO_FRAME_XML] == 1
    with pytest.raises(InputError, match=r"000001.png: frame of a video without"):
        read(vid, strict=True)


def test_labels_of_vid_without_a_frame_fail(vid: Path) -> None:
    next(vid.rglob("ILSVRC2015_val_00000001/000001.png")).unlink()
    with pytest.raises(InputError, match=r"000001.xml: there is no image for it"):
        read(vid)


def test_the_thirty_classes_of_vid() -> None:
    assert len(voc_xml.VID_CLASSES) == len(set(voc_xml.VID_CLASSES.values())) == 30
    assert list(voc_xml.VID_CLASSES.values()) == sorted(voc_xml.VID_CLASSES.values()), "the devkit's order"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotation><object><name>&b;</name></object></annotation>"
)
WRONG = [
    (xml(item("dog"))[:60], "c.xml:"),
    ("", "c.xml:1: not valid XML"),
    ("{}", "c.xml:1: not valid XML"),
    (BOMB, "c.xml: it declares entities"),
    (BOMB.replace('"1.0"', '"1.0" encoding="utf-8"'), "c.xml: it declares entities"),
    ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "c.xml"),
    ("<a>" * 100, "c.xml:1: not valid XML"),
    (xml(item("dog", ("x", 2, 3, 4))), "c.xml:2: xmin: a number is expected, got 'x'"),
    (xml(item("dog", (1, "nan", 3, 4))), "c.xml:2: ymin: 'nan' is no place"),
    (xml(item("dog", (1, 2, "inf", 4))), "c.xml:2: xmax: 'inf' is no place"),
    (xml(item("dog", (1, 2, 3, ""))), "c.xml:2: ymax: a number is expected"),
    (xml(item("dog", (1, 2, 3, "9" * 30))), "c.xml:2: ymax: "),
    (xml(item("dog"), item("  ")), "c.xml:6: object without a <name>"),
    (xml("<object><name>dog</name></object>"), "c.xml:2: object 'dog' without a <bndbox>"),
    (
        xml("<object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object>"),
        "c.xml:2: <bndbox> without <ymin>",
    ),
    (xml(item("dog", trackid="one")), "c.xml:2: trackid: a whole number"),
    (xml(item("dog", trackid=-5)), "c.xml:2: trackid: 0 or more"),
    (xml(item("dog", trackid="9" * 5000)), "c.xml:2: trackid: "),
    (xml(item("dog"), size=SIZE.replace("64", "65")), "65x48 pixels"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_a_wrong_file_is_named_and_nothing_is_written(
    source: Path, tmp_path: Path, text: str, says: str
) -> None:
    write(source, **{"Annotations/c.xml": text})
    with pytest.raises(InputError) as caught:
        ingest(source, tmp_path / "out")
    assert says in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOC"]


def test_a_bomb_in_utf_16_does_not_pass(source: Path) -> None:
    (source / "Annotations" / "c.xml").write_bytes(BOMB.encode("utf-16"))
    with pytest.raises(InputError, match=r"c.xml: it declares entities"):
        read(source)


@pytest.mark.parametrize(
    "filename", ["../JPEGImages/b.png", "/etc/b.png", "C:\\b.png", "https://x.org/b.png"]
)
def test_a_filename_out_of_the_folder_is_refused(source: Path, filename: str) -> None:
    (source / "Annotations" / "b.xml").unlink()
    (source / "ImageSets" / "Main" / "val.txt").write_text("z")
    write(source, **{"Annotations/z.xml": xml(item("dog"), filename=filename)})
    with pytest.raises(InputError, match=r"z.xml: filename: .* leads out of the source folder"):
        read(source)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd"])
def test_a_listed_path_out_of_the_folder_is_refused(source: Path, name: str) -> None:
    write(source, **{"ImageSets/Main/train.txt": f"a\n{name}\n"})
    with pytest.raises(InputError, match=r"train.txt:2: .* leads out of"):
        read(source)


def test_names_in_any_script(source: Path, tmp_path: Path, make_images: Make) -> None:
    make_images(source / "JPEGImages", ["птица 1.png"])
    write(
        source,
        **{"Annotations/птица 1.xml": xml(item("Vogel & 鳥")), "ImageSets/Main/val.txt": '"птица 1"\nc'},
    )
    report = ingest(source, tmp_path / "out")
    assert report.boxes_per_class["Vogel & 鳥"] == 1


def test_two_annotations_of_one_image_and_two_images_of_one(source: Path, make_images: Make) -> None:
    make_images(source / "JPEGImages", ["c.jpg"])
    with pytest.raises(InputError, match=r"c.xml: belongs to c.jpg or to c.png\?"):
        read(source)
    write(source, **{"Annotations/c.xml": xml(item("dog"), filename="b.png")})
    (source / "JPEGImages" / "c.jpg").unlink()
    (source / "JPEGImages" / "c.png").unlink()
    with pytest.raises(InputError, match=r"c.xml: a second annotation of b.png"):
        read(source)


def test_other_xml_is_counted_and_a_source_without_objects_fails(source: Path) -> None:
    write(source, **{"settings.xml": "<settings/>"})
    assert counts(read(source)[1])[voc_xml.OTHER_XML] == 1
    for name in "abc":
        write(source, **{f"Annotations/{name}.xml": xml()})
    assert not voc.sniff(source)
    with pytest.raises(InputError, match="there is no XML file with <annotation> and an <object>"):
        voc.read(source, Problems())


TEXTS = st.sampled_from(["", "1", "-1", "x", "nan", "1e400", "é", "0.5", "<a/>", "99999999999999999999"])


@given(sides=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), name=TEXTS, track=TEXTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_object_is_read_or_refused(source: Path, sides: tuple[str, ...], name: str, track: str) -> None:
    write(source, **{"Annotations/c.xml": xml(item("dog"), item(name, sides, trackid=track))})
    problems = Problems()
    raw = voc.read(source, problems)
    assert problems.failed or len(raw.sequences[2].frame) == 2
    assert all(np.isfinite(each.boxes_xyxy_px).all() for each in raw.sequences)


def test_many_objects_are_read_quickly(source: Path) -> None:
    write(source, **{"Annotations/c.xml": xml(item("dog") * 20_000)})
    began = time.process_time()
    raw, _ = read(source)
    assert len(raw.sequences[2].frame) == 20_000
    assert raw.sequences[2].row[-1] == 2 + 4 * 19_999
    assert time.process_time() - began < 4, "a million must be read in 20 s on an idle core"


def test_files_of_datumaro() -> None:
    folder = VECTORS / "voc_dataset"
    if not folder.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    raw, problems = read(folder / "voc_dataset1")
    (sequence,) = raw.sequences
    assert raw.classes == ("cat", "person")
    assert sequence.boxes_xyxy_px.tolist() == [[0, 1, 3, 4], [3, 4, 6, 7]], "the part (a head) is no object"
    assert (sequence.split, sequence.size_wh) == ("train", (20, 10))
    raw, problems = read(folder / "voc_dataset3")
    assert raw.sequences[0].boxes_xyxy_px.tolist() == [[0, 1, 3, 4]]
    assert voc.IN_TWO_LISTS not in counts(problems)
    with pytest.raises(InputError, match=r"5 problems.*\n.*@.xml: there is no image for it") as caught:
        read(folder / "voc_dataset2")
    assert "nor 'd.jpg'" in str(caught.value)


def test_other_formats_are_not_taken_for_this_one() -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    folders = itertools.chain(VECTORS.iterdir(), VECTORS.glob("*/*"))
    taken = [path for path in folders if path.is_dir() and "voc" not in str(path) and voc.sniff(path)]
    assert taken == []
