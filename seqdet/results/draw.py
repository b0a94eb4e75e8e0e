"""Results drawn into the picture: box, label, trail, the class of the sequence, and the truth beside them.

The only place where results meet OpenCV and supervision. They paint each channel by itself, so that the
picture stays RGB: not every picture, but the few colours are turned to the BGR that supervision thinks of.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import supervision as sv

from seqdet import boxes
from seqdet.rle import decoded
from seqdet.types import FrameResult, Targets, label_of

# The palette of Okabe and Ito ("Color Universal Design", 2008), which the colour-blind tell apart; brightest
# first, for those show on sky, on foliage and in thermal pictures alike.
_COLOURS_RGB = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
_UNKNOWN_RGB = (200, 200, 200)
_TRUTH_RGB = (255, 255, 255)
_PALETTE_RGB = (*_COLOURS_RGB, _UNKNOWN_RGB, _TRUTH_RGB, (0, 0, 0))
_UNKNOWN, _TRUTH, _BLACK = range(len(_COLOURS_RGB), len(_PALETTE_RGB))
MASK_TINT = 0.4  # how much of the colour of its class lies over an object
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def class_colour_rgb(class_id: int) -> tuple[int, int, int]:
    """The colour in which a class is drawn, here and on the live page; -1, the unknown class, has one too."""
    return _COLOURS_RGB[class_id % len(_COLOURS_RGB)] if class_id >= 0 else _UNKNOWN_RGB


class Annotator:
    """Draws the results of one source, frame by frame. It remembers the trails: a new source needs a new one.

    The colour is that of the track's class; line and letter sizes follow the picture's size.
    """

    def __init__(self, classes: Sequence[str], trail_length: int = 30) -> None:
        """Prepare to draw.

        Args:
            classes: names of the classes; each has its own colour as long as there are at most seven.
            trail_length: how many frames back the trail of a track reaches; 0 for no trail.
        """
        self._classes = tuple(classes)
        self._trail_length = trail_length
        self._palette = sv.ColorPalette([sv.Color(r=b, g=g, b=r) for r, g, b in _PALETTE_RGB])
        self._trail = sv.TraceAnnotator(color=self._palette, trace_length=max(trail_length, 1))

    def draw(self, result: FrameResult, truth: Targets | None = None) -> np.ndarray:
        """The frame with its results.

        Args:
            result: of the next frame of the source.
            truth: what is really there: white corners, a little further out, with its class.

        Returns:
            (H, W, 3) uint8 RGB, a new array; the frame is not touched.
        """
        rgb = result.frame.rgb
        style = _Style(result.frame.size_wh)
        canvas_rgb: npt.NDArray[np.uint8] = rgb.copy()
        found = result.detections
        drawable = np.isfinite(found.boxes_xyxy_px).all(axis=1)
        boxes_xyxy_px = boxes.clip(found.boxes_xyxy_px[drawable], result.frame.size_wh)
        shown_ids = np.where(found.track_class_ids >= 0, found.track_class_ids, found.class_ids)[drawable]
        colours = np.where(shown_ids >= 0, shown_ids % len(_COLOURS_RGB), _UNKNOWN)
        self._draw_trails(canvas_rgb, boxes_xyxy_px, found.track_ids[drawable], colours, style)
        # What lies in a box stays as it was: the object may be smaller than the line that leads to it.
        for x1, y1, x2, y2 in np.rint(boxes_xyxy_px).astype(int):
            canvas_rgb[y1:y2, x1:x2] = rgb[y1:y2, x1:x2]
        for text, colour in zip(found.masks[drawable], colours.tolist(), strict=True):
            if text:
                _tint(canvas_rgb, decoded(text, result.frame.size_wh), _PALETTE_RGB[colour])
        frames_xyxy = boxes_xyxy_px + np.array([-1, -1, 1, 1]) * (1 + style.line_px)
        detections = _supervised(frames_xyxy, colours)
        sv.BoxAnnotator(color=self._palette, thickness=style.line_px).annotate(
            canvas_rgb, detections, custom_color_lookup=colours
        )
        labels = [text for text, keep in zip(_labels(result), drawable, strict=True) if keep]
        if truth is not None:
            corners_xyxy = self._draw_truth(canvas_rgb, truth, style)
            frames_xyxy = np.concatenate([frames_xyxy, corners_xyxy])
            colours = np.append(colours, np.full(len(truth), _TRUTH))
            labels += [f"true: {label_of(self._classes, class_id)}" for class_id in truth.class_ids.tolist()]
        sequence_place, sequence_text, sequence_colour = self._sequence_label(result, frames_xyxy, style)
        sizes_wh = [style.label_size_wh(text) for text in labels]
        places = label_places(frames_xyxy, sizes_wh, style.size_wh, sequence_place)
        self._put_labels(
            canvas_rgb,
            np.concatenate([sequence_place, places]),
            sequence_text + labels,
            np.concatenate([sequence_colour, colours]),
            style,
        )
        return canvas_rgb

    def _draw_trails(
        self,
        canvas_rgb: npt.NDArray[np.uint8],
        boxes_xyxy_px: np.ndarray,
        track_ids: np.ndarray,
        colours: np.ndarray,
        style: _Style,
    ) -> None:
        if not self._trail_length:
            return
        tracked = track_ids >= 0
        detections = _supervised(boxes_xyxy_px[tracked], colours[tracked])
        detections.tracker_id = track_ids[tracked]
        self._trail.thickness = style.line_px
        self._trail.annotate(canvas_rgb, detections, custom_color_lookup=colours[tracked])

    def _draw_truth(self, canvas_rgb: npt.NDArray[np.uint8], truth: Targets, style: _Style) -> np.ndarray:
        """Corners around the true boxes; returns where they are, (M, 4)."""
        margin = 3 + 3 * style.line_px
        corners_xyxy = truth.boxes_xyxy_px + np.array([-margin, -margin, margin, margin])
        # White on black: one of the two stands out from any picture.
        for colour, thickness in ((_BLACK, 3 * style.line_px), (_TRUTH, style.line_px)):
            colours = np.full(len(truth), colour)
            sv.BoxCornerAnnotator(color=self._palette, thickness=thickness, corner_length=margin).annotate(
                canvas_rgb, _supervised(corners_xyxy, colours), custom_color_lookup=colours
            )
        return corners_xyxy

    def _sequence_label(
        self, result: FrameResult, frames_xyxy: np.ndarray, style: _Style
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Where it goes, (0 or 1, 4): upper left, or lower left when an object is there; text and colour."""
        if not result.sequence_label:
            return np.zeros((0, 4)), [], np.zeros(0, int)
        text = f"{result.sequence_label} {result.sequence_score:.2f}"
        width, height = style.label_size_wh(text)
        low = max(style.size_wh[1] - 1 - height, 0)
        corners = np.array([(0, 0, width, height), (0, low, width, low + height)], np.float32)
        place = corners[[int(np.argmin(boxes.intersection(corners, frames_xyxy).sum(axis=1)))]]
        known = result.sequence_label in self._classes
        colour = self._classes.index(result.sequence_label) % len(_COLOURS_RGB) if known else _UNKNOWN
        return place, [text], np.array([colour])

    def _put_labels(
        self,
        canvas_rgb: npt.NDArray[np.uint8],
        places_xyxy: np.ndarray,
        labels: list[str],
        colours: np.ndarray,
        style: _Style,
    ) -> None:
        sv.LabelAnnotator(
            color=self._palette,
            text_color=sv.Color.BLACK,
            text_scale=style.letters,
            text_thickness=style.stroke_px,
            text_padding=style.padding_px,
            text_position=sv.Position.CENTER,
        ).annotate(canvas_rgb, _supervised(places_xyxy, colours), labels=labels, custom_color_lookup=colours)


class _Style:
    """Line and letter sizes that suit a picture: readable at 320x256, not bulky at 1920x1080."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        short_px = min(size_wh)
        self.size_wh = size_wh
        self.line_px = max(1, round(short_px / 300))
        self.letters = float(np.clip(0.25 + short_px / 1800, 0.3, 1.5))
        self.stroke_px = max(1, round(self.letters * 2))
        self.padding_px = max(2, round(self.letters * 6))

    def label_size_wh(self, text: str) -> tuple[int, int]:
        """Width and height of a label with its padding, in pixels, as supervision draws it."""
        (width, height), _ = cv2.getTextSize(text, _FONT, self.letters, self.stroke_px)
        return width + 2 * self.padding_px, height + 2 * self.padding_px


def label_places(
    boxes_xyxy_px: np.ndarray,
    sizes_wh: Sequence[tuple[int, int]],
    frame_wh: tuple[int, int],
    kept_free_xyxy: np.ndarray,
) -> np.ndarray:
    """Where each label goes: (N, 4) xyxy, inside the frame.

    Each box tries above, below, right and left, and takes the first place, moved into the frame, that covers
    least of any box and of the labels placed before. A label wider than the frame begins at its left edge.

    Args:
        boxes_xyxy_px: (N, 4) what is labelled and must stay visible.
        sizes_wh: N sizes of labels in pixels.
        frame_wh: width and height of the frame in pixels.
        kept_free_xyxy: (M, 4) what else must stay visible.
    """
    places = np.zeros((len(boxes_xyxy_px), 4))
    width, height = frame_wh
    for index, ((x1, y1, x2, y2), (label_w, label_h)) in enumerate(zip(boxes_xyxy_px, sizes_wh, strict=True)):
        corners = np.array(
            [
                (x1, y1 - label_h - 1),
                (x1, y2 + 2),
                (x2 + 2, (y1 + y2 - label_h) / 2),
                (x1 - label_w - 1, (y1 + y2 - label_h) / 2),
                (x2 - label_w, y1 - label_h - 1),
                (x2 - label_w, y2 + 2),
            ]
        )
        most = np.maximum([width - 1 - label_w, height - 1 - label_h], 0)
        corners = np.clip(np.rint(corners), 0, most)
        candidates = np.concatenate([corners, corners + np.array([label_w, label_h])], axis=1)
        taken = np.concatenate([boxes_xyxy_px, kept_free_xyxy, places[:index]])
        covered = boxes.intersection(candidates, taken).sum(axis=1)
        places[index] = candidates[int(np.argmin(covered))]
    return places


def _labels(result: FrameResult) -> list[str]:
    """Such as "drone #3 0.87": class of the track, its id, score of the detection."""
    found = result.detections
    texts = []
    for label, track_label, track_id, score in zip(
        result.labels, result.track_labels, found.track_ids.tolist(), found.scores.tolist(), strict=True
    ):
        name = track_label or label or "object"
        texts.append(f"{name} #{track_id} {score:.2f}" if track_id >= 0 else f"{name} {score:.2f}")
    return texts


def _tint(canvas_rgb: np.ndarray, mask: np.ndarray, colour_rgb: tuple[int, int, int]) -> None:
    """Colour what a mask covers, in place; its outline is plain."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    tinted = canvas_rgb[inner] * (1 - MASK_TINT) + np.array(colour_rgb) * MASK_TINT
    canvas_rgb[inner] = tinted.astype(np.uint8)
    canvas_rgb[mask & ~inner] = colour_rgb


def _supervised(boxes_xyxy_px: np.ndarray, colours: np.ndarray) -> sv.Detections:
    return sv.Detections(xyxy=boxes_xyxy_px.astype(np.float32).reshape(-1, 4), class_id=colours.astype(int))
