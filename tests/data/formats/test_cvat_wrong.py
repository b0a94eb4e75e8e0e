from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cvat_texts import LABELS, document, entry, image, read, shape, track, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.formats import cvat
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

Make = Callable[..., Path]


WRONG_IN_VIDEO = [
    (track(0, entry(3)), "annotations.xml:8: frame: 3 is not among the 3 frames of clip.avi, numbered 0"),
    (track(0, entry(-1)), "annotations.xml:8: box: frame: a whole number, 0 or more"),
    (track(0, entry(10**14)), "annotations.xml:8: frame: 100000000000000 is not among"),
    (track(0, entry(0), entry(10**14)), "annotations.xml:9: frame: 100000000000000 is not among"),
    (track(0, entry(0).replace('frame="0"', "")), "annotations.xml:8: box: frame: missing"),
    (track(0, entry(0).replace('frame="0"', 'frame="1.5"')), "box: frame: a whole number"),
    (track(0, entry(0).replace('frame="0"', f'frame="{"9" * 5000}"')), "box: frame: a whole number"),
    (track(0, entry(0).replace('xtl="1"', "")), "annotations.xml:8: box: xtl: missing"),
    (track(0, entry(0).replace('xtl="1"', 'xtl="one"')), "annotations.xml:8: box: xtl: a number is expected"),
    (track(0, entry(0).replace('xtl="1"', 'xtl="nan"')), "annotations.xml:8: box: xtl: nan is no place"),
    (track(0, entry(0).replace('ybr="12"', 'ybr="-inf"')), "annotations.xml:8: box: ybr: -inf is no place"),
    (track(0, entry(0).replace('xtl="1"', 'xtl="1e300"')), "box: xtl: 1e300 is no place"),
    (track(0, entry(0, rest='rotation="x"')), "annotations.xml:8: box: rotation: a number"),
    (track(0, entry(0, outside=2)), "annotations.xml:8: box: outside: 0 or 1 is expected, got '2'"),
    (track(0, entry(0, rest='keyframe="yes"')), "annotations.xml:8: box: keyframe: 0 or 1"),
    (track(-1, entry(0)), "annotations.xml:7: track: id: a whole number, 0 or more, is expected, got '-1'"),
    (track(0, entry(0), label="plane"), "annotations.xml:7: label: 'plane' is none of bird, drone"),
    ('<track id="0"></track>', "annotations.xml:7: track: label: missing"),
    (track(0, '<polygon frame="0" points="1,2;3"/>'), "annotations.xml:8: polygon: points: x,y;x,y"),
    (track(0, '<polygon frame="0" points="1,2;3,nan"/>'), "annotations.xml:8: polygon: points: nan"),
    (track(0, '<ellipse frame="0" cx="1"/>'), "annotations.xml:8: ellipse: cy: missing"),
    (track(0, '<mask frame="0" left="1" top="1" width="1"/>'), "annotations.xml:8: mask: height: missing"),
    (track(0, "<box>"), "annotations.xml:8: not valid XML: mismatched tag"),
    ("<track id='0' label='bird'>\n<box", "not valid XML"),
    ("</annotations>\n<more/>", "annotations.xml:8: not valid XML: junk after document element"),
    ("&what;", "annotations.xml:7: not valid XML: undefined entity"),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "says"), WRONG_IN_VIDEO)
def test_what_is_wrong_in_a_video_is_named_and_nothing_is_written(
    tmp_path: Path, make_video: Make, elements: str, says: str
) -> None:
    make_video(tmp_path / "source" / "clip.avi", 3)
    write(tmp_path / "source", document(elements))
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "source", tmp_path / "data")
    assert says in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "../clip.avi"}, "task 'first': source: '../clip.avi' leads out"),
        ({"source": "/etc/clip.avi"}, "source: '/etc/clip.avi' leads out"),
        ({"source": "C:\\clip.avi"}, "leads out"),
        ({"task": "<start_frame>-1</start_frame>"}, "task 'first': start_frame: a whole number, 0 or more"),
        ({"task": "<start_frame>2</start_frame><stop_frame>1</stop_frame>"}, "stop_frame: 1 is before"),
        ({"task": "<stop_frame>9</stop_frame>"}, "the labels say frames to 9, "),
        ({"task": f"<stop_frame>{10**14}</stop_frame>"}, "the labels say frames to 100000000000000, "),
        ({"task": "<frame_filter>step=0</frame_filter>"}, "frame_filter: step=K is expected, got 'step=0'"),
        ({"task": "<frame_filter>every</frame_filter>"}, "frame_filter: step=K"),
        ({"labels": LABELS.replace("drone", "bird")}, "meta: labels: each needs a name of its own"),
        (
            {"task": "<original_size><width>65</width><height>48</height></original_size>"},
            "the labels say 65x48 pixels, the video has 64x48",
        ),
    ],
)
def test_what_is_wrong_in_meta_is_named(
    tmp_path: Path, make_video: Make, change: dict[str, str], says: str
) -> None:
    make_video(tmp_path / "source" / "clip.avi", 3)
    write(tmp_path / "source", document(track(0, entry(0)), **change))
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "source", tmp_path / "data")
    assert says in str(caught.value)
    assert "annotations.xml" in str(caught.value) or "clip.avi" in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        (image("none.png"), "annotations.xml:7: image: name: there is no 'none.png' in "),
        (image("../a.png"), "annotations.xml:7: image: name: '../a.png' leads out of the source folder"),
        (image("/etc/passwd"), "image: name: '/etc/passwd' leads out"),
        (image("http://host/a.png"), "leads out"),
        (image(""), "annotations.xml:7: image: name: missing"),
        (image("a.png", rest='width="x" height="48"'), "annotations.xml:7: image: width: a whole number"),
        (image("a.png", rest='width="8" height="48"'), "the labels say 8x48 pixels, the video has 64x48"),
        (image("a.png") + image("a.png"), "annotations.xml:9: image: name: 'a.png' occurs in line 7 too"),
        (image("a.png", shape(label="x")), "annotations.xml:8: label: 'x' is none of bird, drone"),
        (image("a.png", '<box xtl="1"/>'), "annotations.xml:8: box: ytl: missing"),
        (image("a.png", '<box xtl="1" ytl="1" xbr="2" ybr="2"/>'), "annotations.xml:8: box: label: missing"),
        (image("link.png"), "there is no 'link.png'"),
        (image("a.png") + track(0, entry(1)), "annotations.xml:10: frame: 1 is not among the 1 frames of"),
    ],
)
def test_what_is_wrong_with_images_is_named(
    tmp_path: Path, make_images: Make, elements: str, says: str
) -> None:
    make_images(tmp_path, ["source/images/a.png", "secret.png"])
    (tmp_path / "source" / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    write(tmp_path / "source", document(elements))
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "source", tmp_path / "data")
    assert says in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "annotations.xml:1: not valid XML: no element found"),
        ("<annotations>", "annotations.xml:1: not valid XML: no element found"),
        ("<other/>", "annotations.xml:1: <annotations> is expected, got <other>"),
        ("<annotations></annotations>", "it names no label"),
        (
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>',
            "declares entities or reads other files",
        ),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations/>', "declares entities"),
        ('<?xml version="1.0" encoding="klingon"?><annotations/>', "not valid XML"),
        ("\x00\x01", "annotations.xml:1: not valid XML"),
    ],
)
def test_a_file_that_is_no_xml_of_cvat(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path / "source", text)
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "source" / "annotations.xml", tmp_path / "data", format="cvat")
    assert says in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_deep_nesting_is_no_matter(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 3)
    raw, _ = read(write(tmp_path, document(track(0, entry(0)), "<a>" * 50_000 + "</a>" * 50_000)))
    assert len(raw.sequences[0].frame) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_carriage_returns_and_names_of_any_script(
    tmp_path: Path, make_video: Make, encoding: str
) -> None:
    make_video(tmp_path / "v.avi", 3).rename(tmp_path / "鳥 é.avi")
    text = document(track(0, entry(1), label="Vogel ü"), source="鳥 é.avi", labels="").replace("\n", "\r\n")
    text = text.replace(' encoding="utf-8"', "")
    (tmp_path / "annotations.xml").write_bytes(text.encode(encoding))
    raw, _ = read(tmp_path)
    assert raw.classes == ("Vogel ü",)
    assert raw.sequences[0].name == "鳥 é"
    assert raw.sequences[0].place(0).endswith(":8")
    assert "no labels" in raw.notes[0]


VALUES = st.sampled_from(["", "-1", "nan", "1e400", "a", "9" * 40, "../a", "2", "１", "\t", "1_0"])
ATTRIBUTES = ["frame", "outside", "occluded", "keyframe", "xtl", "ytl", "xbr", "ybr", "rotation"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES, min_size=1, max_size=3))
def test_any_value_is_read_or_refused(tmp_path: Path, make_video: Make, changes: dict[str, str]) -> None:
    if not (tmp_path / "clip.avi").exists():
        make_video(tmp_path / "clip.avi", 3)
    attributes = {"frame": "0", "outside": "0", "xtl": "1", "ytl": "2", "xbr": "3", "ybr": "4"} | changes
    text = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    folder = write(tmp_path, document(track(0, f"<box {text}/>")))
    with contextlib.suppress(InputError):
        cvat.read(folder, Problems())
