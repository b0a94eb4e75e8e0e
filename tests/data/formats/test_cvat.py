from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cvat_texts import LABELS, counted, document, entry, read, rows, track, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, cvat, cvat_tracks, cvat_xml
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

Make = Callable[..., Path]


def test_every_frame_as_cvat_exports_it(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 6)
    text = document(
        track(
            0,
            entry(1, (0, 0, 10, 10)),
            entry(2, (2, 1, 12, 11), 'keyframe="0"'),
            entry(3, (4, 2, 14, 12), outside=1),
        ),
        track(7, entry(4, (1.5, 2.25, 3, 4)), entry(5, (1.5, 2.25, 3, 4), 'keyframe="0"'), label="drone"),
        task="<size>6</size><start_frame>0</start_frame><stop_frame>5</stop_frame><frame_filter></frame_filter>"
        "<original_size><width>64</width><height>48</height></original_size><subset>Validation</subset>",
    )
    raw, problems = read(write(tmp_path, text))
    (sequence,) = raw.sequences
    assert raw.classes == ("bird", "drone"), "in the order of the labels"
    assert rows(sequence) == [
        (1, 0, 0, 0, 0, 10, 10),
        (2, 0, 0, 2, 1, 12, 11),
        (4, 7, 1, 1.5, 2.25, 3, 4),
        (5, 7, 1, 1.5, 2.25, 3, 4),
    ]
    assert (sequence.name, sequence.size_wh, sequence.split) == ("clip", (64, 48), "val")
    assert sequence.place(0).endswith("annotations.xml:8")
    assert counted(problems) == {}


def test_keyframes_only_by_hand(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 10)
    text = document(
        track(
            3,
            entry(1, (0, 0, 10, 10)),
            entry(5, (8, 4, 20, 12), outside=1),
            entry(7, (0, 0, 4, 4)),
        )
    )
    raw, problems = read(write(tmp_path, text))
    assert rows(raw.sequences[0]) == [
        (1, 3, 0, 0, 0, 10, 10),
        (2, 3, 0, 2, 1, 12.5, 10.5),
        (3, 3, 0, 4, 2, 15, 11),
        (4, 3, 0, 6, 3, 17.5, 11.5),
        (7, 3, 0, 0, 0, 4, 4),
        (8, 3, 0, 0, 0, 4, 4),
        (9, 3, 0, 0, 0, 4, 4),
    ]
    assert counted(problems) == {cvat_tracks.BETWEEN: 3, cvat_tracks.HELD: 2}


def test_a_list_of_all_frames_without_outside_ends_with_its_last_entry(
    tmp_path: Path, make_video: Make
) -> None:
    make_video(tmp_path / "clip.avi", 10)
    text = document(track(0, entry(2), entry(3), entry(4)))
    raw, _ = read(write(tmp_path, text))
    assert raw.sequences[0].frame.tolist() == [2, 3, 4]


FRAMES = 12
ENTRIES = st.dictionaries(
    st.integers(0, FRAMES - 1),
    st.tuples(st.booleans(), *[st.integers(-20, 80) for _ in range(4)]),
    min_size=1,
    max_size=5,
)


def oracle(keys: dict[int, tuple[int, ...]]) -> list[tuple[float, ...]]:
    """CVAT's rule, frame by frame, in fractions: the keyframe before and the one behind decide."""
    found = []
    for frame in range(FRAMES):
        before = [key for key in keys if key <= frame]
        behind = [key for key in keys if key > frame]
        if not before or keys[max(before)][0]:
            continue
        left = max(before)
        right = min(behind) if behind else left
        part = Fraction(frame - left, right - left) if right > left else Fraction(0)
        corners = zip(keys[left][1:], keys[right][1:], strict=True)
        found.append((frame, *[round(float(a + (b - a) * part), 6) for a, b in corners]))
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tracks=st.lists(ENTRIES, min_size=1, max_size=4))
def test_keyframes_against_the_rule_frame_by_frame(tracks: list[dict[int, tuple[int, ...]]]) -> None:
    flat = [(n, frame, *values) for n, keys in enumerate(tracks) for frame, values in sorted(keys.items())]
    columns = np.array(flat, np.float64)
    none = np.zeros(len(flat))
    shapes = cvat_xml.Shapes(
        columns[:, 0].astype(int), none, columns[:, 1].astype(int), columns[:, 2] > 0, none == 0, none,
        columns[:, 3:], none,
    )  # fmt: skip
    drawn = cvat_tracks.draw(shapes, np.arange(FRAMES), FRAMES, holds=True)
    found = [
        (int(owner), int(frame), *box)
        for owner, frame, box in zip(
            shapes.owner[drawn.source],
            drawn.position,
            drawn.boxes_xyxy_px.round(6).tolist(),
            strict=True,
        )
    ]
    expected = [(n, *row) for n, keys in enumerate(tracks) for row in oracle(keys)]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    listed = sum(not keys[frame][0] for keys in tracks for frame in keys)
    assert drawn.between + drawn.held + listed == len(found)


def test_a_track_can_ask_for_too_many_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat_tracks, "MAX_BOXES", 10)
    one = np.zeros(1, int)
    shapes = cvat_xml.Shapes(one, one, one, one > 0, one == 0, one, np.zeros((1, 4)), np.zeros(1))
    with pytest.raises(InputError, match="11 boxes"):
        cvat_tracks.draw(shapes, np.arange(11), 11, holds=True)


def test_a_rotated_box_becomes_the_upright_box_around_it(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 4)
    box = (20.0, 20.0, 40.0, 30.0)  # middle 30, 25
    text = document(
        track(
            0,
            entry(0, box, 'keyframe="1" rotation="90.0"'),
            entry(1, box, 'keyframe="1" rotation="350"'),
            entry(3, box, 'keyframe="1" rotation="10"'),
        )
    )
    raw, problems = read(write(tmp_path, text))
    boxes = raw.sequences[0].boxes_xyxy_px
    np.testing.assert_allclose(boxes[0], [25, 15, 35, 35], atol=1e-9)
    corners = np.array([[-10, -5], [10, -5], [10, 5], [-10, 5]])
    angle = np.radians(10)
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    around = np.add([turned.min(0), turned.max(0)], [30, 25]).ravel()
    np.testing.assert_allclose(boxes[1], around, atol=1e-9)
    np.testing.assert_allclose(boxes[2], box, atol=1e-9)  # from 350 to 10 degrees by way of 0
    np.testing.assert_allclose(boxes[3], around, atol=1e-9)
    assert counted(problems)[cvat_xml.ROTATED] == 3


def test_other_shapes_are_bounded_or_left_out_and_counted(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 3)
    at = 'frame="1" outside="0" occluded="1" keyframe="1"'
    text = document(
        track(0, f'<polygon {at} points="3,4;10.5,2;7,20"/>'),
        track(1, f'<ellipse {at} cx="30" cy="20" rx="8" ry="4" rotation="90"/>'),
        track(2, f'<mask {at} rle="1, 2" left="5" top="6" width="7" height="8"/>'),
        track(3, f'<polyline {at} points="3,4;10,2"/>'),
        track(4, f'<points {at} points="3,4"><attribute name="a">x</attribute></points>'),
        track(5, f'<cuboid {at} xtl1="1"/>'),
        track(6, f'<skeleton {at}><points {at} points="1,2"/></skeleton>'),
        track(
            7, f"<something {at}/>", entry(0), entry(1, outside=1), entry(2, rest='keyframe="0"', outside=1)
        ),
    )
    raw, problems = read(write(tmp_path, text))
    assert rows(raw.sequences[0]) == [
        (0, 7, 0, 1, 2, 11, 12),
        (1, 0, 0, 3, 2, 10.5, 20),
        (1, 1, 0, 26, 12, 34, 28),
        (1, 2, 0, 5, 6, 12, 14),
    ]
    expected = {cvat_xml.BOUNDED[tag]: 1 for tag in ("polygon", "ellipse", "mask")}
    expected |= {cvat_xml.LEFT_OUT[tag]: 1 for tag in ("polyline", "points", "cuboid", "skeleton")}
    assert counted(problems) == expected | {cvat_xml.OCCLUDED: 3, cvat_xml.ATTRIBUTE: 1}


STEPS = (
    "<start_frame>2</start_frame><stop_frame>8</stop_frame><frame_filter>step=3</frame_filter><size>3</size>"
)


def test_part_of_the_frames_of_a_video_file(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 12)
    text = document(
        track(
            0,
            entry(2, (0, 0, 3, 3)),
            entry(5, (3, 6, 6, 9), 'keyframe="0"'),
            entry(8, (3, 6, 6, 9), outside=1),
        ),
        task=STEPS,
    )
    raw, problems = read(write(tmp_path, text))
    assert rows(raw.sequences[0]) == [
        (2, 0, 0, 0, 0, 3, 3),
        (3, 0, 0, 1, 2, 4, 5),
        (4, 0, 0, 2, 4, 5, 7),
        *[(frame, 0, 0, 3, 6, 6, 9) for frame in (5, 6, 7)],
    ]
    found = counted(problems)
    assert found[cvat.UNLABELLED] == 2 + 3
    assert found[cvat.STEPPED_OVER] == 4


def test_part_of_the_frames_as_images(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", ["frame_000002.png", "frame_000005.png", "frame_000008.png"])
    text = document(track(0, entry(2, (0, 0, 3, 3)), entry(8, (6, 6, 9, 9))), task=STEPS)
    raw, problems = read(write(tmp_path, text))
    (sequence,) = raw.sequences
    assert [path.name for path in sequence.images or ()] == [f"frame_00000{n}.png" for n in (2, 5, 8)]
    assert rows(sequence) == [(0, 0, 0, 0, 0, 3, 3), (1, 0, 0, 3, 3, 6, 6), (2, 0, 0, 6, 6, 9, 9)]
    assert counted(problems) == {cvat_tracks.BETWEEN: 1}


def test_images_of_other_names_are_taken_in_order_if_they_are_as_many(
    tmp_path: Path, make_images: Make
) -> None:
    make_images(tmp_path / "images", ["a1.png", "a2.png", "a3.png"])
    text = document(track(0, entry(2), entry(5, rest='keyframe="0"')), task=STEPS)
    raw, _ = read(write(tmp_path, text))
    assert raw.sequences[0].frame.tolist() == [0, 1]
    make_images(tmp_path / "images", ["a10.png"])
    with pytest.raises(InputError, match=r"neither images frame_000002.png \.\.\. nor the video 'clip.avi'"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["videos/clip.avi", "images/clip.avi", "clip.mkv", "other.avi", "first.avi"])
def test_where_the_video_may_be(tmp_path: Path, make_video: Make, name: str) -> None:
    made = make_video(tmp_path / "made.avi", 3)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    made.rename(tmp_path / name)
    raw, _ = read(write(tmp_path, document(track(0, entry(0), entry(2, outside=1)))))
    assert raw.sequences[0].video == tmp_path / name
    assert bool(raw.notes) == (name == "other.avi"), "a video of another name is said"


def test_a_video_that_is_not_there_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError) as caught:
        read(write(tmp_path, document(track(0, entry(0)))))
    assert "'clip.avi'" in str(caught.value)
    assert "frame_000000.png" in str(caught.value)
    assert str(tmp_path / "images") in str(caught.value)


PROJECT = (
    "<annotations><meta><project><name>p</name><tasks>"
    "<task><id>1</id><name>one</name><subset>Train</subset><source>a.avi</source><stop_frame>3</stop_frame></task>"
    "<task><id>2</id><name>two</name><subset>Test</subset><source>b.avi</source></task>"
    "<task><id>3</id><name>three</name><subset>Train</subset></task>"
    f"</tasks>{LABELS}</project></meta>\n%s</annotations>"
)


def test_a_project_of_several_videos(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "a.avi", 4)
    make_video(tmp_path / "b.avi", 5)
    text = PROJECT % (
        track(0, entry(1), entry(2, outside=1), rest='task_id="1" subset="Train"')
        + track(1, entry(4), entry(5, outside=1), rest='task_id="2" subset="Test"', label="drone")
    )
    raw, problems = read(write(tmp_path, text))
    assert [(each.name, each.split, rows(each)) for each in raw.sequences] == [
        ("a", "train", [(1, 0, 0, 1, 2, 11, 12)]),
        ("b", "test", [(4, 1, 1, 1, 2, 11, 12)]),
    ]
    assert counted(problems) == {cvat.EMPTY_TASK: 1}
    with pytest.raises(InputError, match=r"annotations.xml:3: task_id: its track is of no task"):
        read(write(tmp_path, PROJECT % track(0, entry(1), rest='task_id="9"')))


def test_two_tasks_do_not_share_the_images_of_one(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images" / "Train", ["frame_000000.PNG", "frame_000001.PNG"])
    text = PROJECT % (track(0, entry(1), rest='task_id="1"') + track(1, entry(1), rest='task_id="3"'))
    with pytest.raises(
        InputError, match="holds the frames of 'one' already; put those of 'three' into a folder"
    ):
        read(write(tmp_path, text))
    make_images(tmp_path / "images" / "three", ["frame_000000.PNG", "frame_000001.PNG"])
    assert len(read(tmp_path)[0].sequences) == 2


def test_jobs_of_one_video_in_folders_of_their_own_and_in_one(tmp_path: Path, make_video: Make) -> None:
    for name in ("one", "two"):
        make_video(tmp_path / "apart" / name / "clip.avi", 3)
        write(tmp_path / "apart" / name, document(track(0, entry(0))))
    raw, _ = read(tmp_path / "apart")
    assert [each.name for each in raw.sequences] == ["clip", "clip_2"]
    assert [each.recording for each in raw.sequences] == [None, None]
    make_video(tmp_path / "both" / "clip.avi", 3)
    for name in ("one.xml", "two.xml"):
        write(tmp_path / "both", document(track(0, entry(0))), name)
    raw, _ = read(tmp_path / "both")
    assert [each.recording for each in raw.sequences] == ["clip", "clip"]
    other = document(track(0, entry(0)), labels=LABELS.replace("drone", "plane"))
    with pytest.raises(InputError, match=r"two.xml: its labels are not those of .*one.xml"):
        read(write(tmp_path / "both", other, "two.xml"))


def test_tracks_with_one_id_are_two_tracks_as_in_cvat(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 4)
    tracks = [track(4, entry(at), entry(at + 1, outside=1)) for at in (0, 2)]
    raw, problems = read(write(tmp_path, document(*tracks)))
    assert raw.sequences[0].track_id.tolist() == [4, 5]
    assert counted(problems) == {cvat.ID_TWICE: 1}


def test_a_strict_reading_of_a_clean_source_fails_nothing(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 3)
    write(tmp_path, document(track(0, entry(0), entry(2, outside=1)), task="<stop_frame>2</stop_frame>"))
    strict = Problems(strict=True)
    cvat.read(tmp_path, strict)
    assert not strict.failed


def test_a_whole_ingestion_box_by_box(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "source" / "clip.avi", 8)
    keys = {0: (0, 10, 10, 20, 20), 4: (0, 30, 20, 50, 40), 6: (1, 30, 20, 50, 40)}
    entries = [entry(at, box, outside=outside) for at, (outside, *box) in keys.items()]  # type: ignore[misc]
    write(tmp_path / "source", document(track(2, *entries, label="drone")))
    report = ingest(tmp_path / "source", tmp_path / "data", format="cvat", val_fraction=0)
    dataset = load_dataset(tmp_path / "data")
    (sequence,) = dataset.sequences
    labels = dataset.labels(sequence)
    found = [
        (frame, *np.asarray(box, float).round(3).tolist())
        for frame, box in zip(labels.frame.tolist(), labels.boxes_xyxy_px, strict=True)
    ]
    assert found == [
        (0, 10, 10, 20, 20),
        (1, 15, 12.5, 27.5, 25),
        (2, 20, 15, 35, 30),
        (3, 25, 17.5, 42.5, 35),
        (4, 30, 20, 50, 40),
        (5, 30, 20, 50, 40),
    ]
    assert (report.format, report.classes, report.frames) == ("cvat", ("bird", "drone"), 8)
    assert set(labels.class_id.tolist()) == {1}
    assert any(cvat_tracks.BETWEEN in note for note in dataset.notes)


def test_the_format_is_found_by_content_and_chosen_by_name(tmp_path: Path) -> None:
    write(tmp_path, document())
    assert choose_format(tmp_path) is cvat
    assert choose_format(tmp_path, "cvat") is cvat
