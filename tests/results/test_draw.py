"""Drawing: the frame stays, the object stays visible, labels stay inside."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet import boxes
from seqdet.results.draw import Annotator, label_places
from seqdet.types import Detections, Frame, FrameResult, Targets

CLASSES = ("drone", "bird", "airplane", "helicopter")
SKY_BLUE = (86, 180, 233)
SIZES_WH = [(320, 256), (640, 512), (1920, 1080), (33, 17)]


@pytest.fixture
def result(make_detections):
    """(size, boxes) -> a frame of noise with these objects, all tracked drones."""

    def make(size_wh, boxes_xyxy_px, index=0, sequence_label="", class_id=0):
        rgb = np.random.default_rng(1).integers(0, 255, (size_wh[1], size_wh[0], 3)).astype(np.uint8)
        count = len(boxes_xyxy_px)
        detections = make_detections(
            boxes_xyxy_px,
            track_ids=np.arange(1, count + 1),
            class_ids=np.full(count, class_id),
            track_class_ids=np.full(count, class_id),
        )
        return FrameResult(Frame(rgb, index, index / 30), detections, CLASSES, sequence_label, 0.8)

    return make


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_the_frame_is_not_touched_and_the_picture_is_a_new_one(size_wh, result):
    given = result(size_wh, [[5, 5, 15, 15], [0, 0, 4, 4]], sequence_label="bird")
    before = given.frame.rgb.copy()
    given.frame.rgb.flags.writeable = False
    drawn = Annotator(CLASSES).draw(given)
    assert np.array_equal(given.frame.rgb, before)
    assert (drawn.shape, drawn.dtype) == (before.shape, np.uint8)
    assert not np.array_equal(drawn, before)


def test_without_results_the_picture_is_the_frame(result):
    given = result((320, 256), [])
    assert np.array_equal(Annotator(CLASSES).draw(given), given.frame.rgb)


@pytest.mark.parametrize("size_wh", SIZES_WH[:3])
def test_a_tiny_object_stays_visible_though_its_trail_leads_to_it(size_wh, result):
    annotator = Annotator(CLASSES)
    for t in range(20):
        given = result(size_wh, [[100 + 3 * t, 90, 110 + 3 * t, 100]], index=t)
        drawn = annotator.draw(given)
    inside = np.s_[90:100, 157:167]
    assert np.array_equal(drawn[inside], given.frame.rgb[inside])
    trail = drawn[95, 105:150]
    assert (trail == SKY_BLUE).all(axis=-1).mean() > 0.9, "the trail, in the class's colour, as RGB"


def test_the_trail_is_of_limited_length_and_of_its_track(result):
    annotator = Annotator(CLASSES, trail_length=5)
    for t in range(30):
        drawn = annotator.draw(result((640, 512), [[100 + 10 * t, 90, 110 + 10 * t, 100]], index=t))
    coloured = np.flatnonzero((drawn[95] == SKY_BLUE).all(axis=-1))
    assert coloured.min() >= 340
    without = Annotator(CLASSES, trail_length=0)
    for t in range(5):
        drawn = without.draw(result((640, 512), [[100 + 20 * t, 90, 110 + 20 * t, 100]], index=t))
    assert not (drawn[95, 100:175] == SKY_BLUE).all(axis=-1).any()


def test_classes_differ_in_colour_and_a_class_beyond_the_palette_is_drawn_too(result):
    classes = tuple("abcdefghijkl")
    colours = set()
    for class_id in range(7):
        given = result((320, 256), [[100, 100, 120, 120]], class_id=class_id)
        given = FrameResult(given.frame, given.detections, classes)
        colours.add(tuple(Annotator(classes).draw(given)[110, 98]))
    assert len(colours) == 7
    beyond = result((320, 256), [[100, 100, 120, 120]], class_id=11)
    Annotator(classes).draw(FrameResult(beyond.frame, beyond.detections, classes, "nowhere"))


def test_untracked_unknown_and_broken_boxes_do_not_stop_the_film(make_detections, result):
    detections = make_detections(
        [[10, 10, 20, 20], [np.nan, 0, 1, 1], [-50, -50, -10, -10], [300, 200, 900, 900]]
    )
    frame = result((320, 256), []).frame
    annotator = Annotator(CLASSES)
    drawn = annotator.draw(FrameResult(frame, detections, CLASSES))
    assert not np.array_equal(drawn, frame.rgb)
    annotator.draw(FrameResult(frame, Detections.empty(4), CLASSES, "bird", 1.0))


@pytest.mark.parametrize("seed", range(5))
def test_labels_lie_inside_the_frame_and_cover_no_tiny_box(seed):
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, [300, 240], (6, 2))
    objects = np.concatenate([corner, corner + generator.uniform(6, 16, (6, 2))], axis=1)
    places = label_places(objects, [(90, 14)] * 6, (320, 256), np.zeros((0, 4)))
    assert (places[:, :2] >= 0).all()
    assert (places[:, 2:] < [320, 256]).all()
    covered = boxes.intersection(places, objects).sum() / boxes.area(objects).sum()
    assert covered < 0.2
    lone = label_places(objects[:1], [(90, 14)], (320, 256), np.zeros((0, 4)))
    assert boxes.intersection(lone, objects[:1]).sum() == 0


@pytest.mark.parametrize("at", [[0, 0, 8, 8], [312, 0, 320, 8], [0, 248, 8, 256], [312, 248, 320, 256]])
def test_a_label_in_a_corner_avoids_its_object_and_the_sequence_label(at, result):
    sequence_label = np.array([[0, 0, 80, 14.0] if at[1] or at[0] else [0, 241, 80, 255.0]])
    (place,) = label_places(np.array([at], float), [(100, 14)], (320, 256), sequence_label)
    assert boxes.intersection(place[None], np.array([at], float)).sum() == 0
    assert boxes.intersection(place[None], sequence_label).sum() == 0
    assert 0 <= place[0] < place[2] < 320
    assert 0 <= place[1] < place[3] < 256
    given = result((320, 256), [at], sequence_label="helicopter")
    drawn = Annotator(CLASSES).draw(given)
    x1, y1, x2, y2 = at
    assert np.array_equal(drawn[y1:y2, x1:x2], given.frame.rgb[y1:y2, x1:x2])


def test_the_truth_is_white_corners_around_the_object_that_stays_as_it_was(result):
    truth = Targets(np.array([[100, 100, 110, 110]], np.float32), np.array([1]), np.array([1]))
    given = result((320, 256), [])
    drawn = Annotator(CLASSES).draw(given, truth)
    changed = (drawn != given.frame.rgb).any(axis=-1)
    assert not changed[100:110, 100:110].any()
    assert changed[90:120, 90:120].any()
    assert not changed[140:].any()
    assert (drawn[changed] == 255).all(axis=-1).any()
    assert np.array_equal(Annotator(CLASSES).draw(given, Targets.empty()), given.frame.rgb)


def test_truth_and_prediction_are_both_drawn_and_no_label_hides_an_object(result):
    box = [[100.0, 100, 108, 108]]
    truth = Targets(np.array(box, np.float32), np.array([1]), np.array([1]))
    given = result((320, 256), box)
    both, alone = Annotator(CLASSES).draw(given, truth), Annotator(CLASSES).draw(given)
    assert not np.array_equal(both, alone)
    assert np.array_equal(both[100:108, 100:108], given.frame.rgb[100:108, 100:108])
    assert (both[98:110, 98] == SKY_BLUE).all(axis=-1).any(), "the box of the prediction is still there"
