"""Boxes of Label Studio: keyframes between which they move, percentages, rotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqdet.data.checks import is_plain_number
from seqdet.data.formats.protocol import EXAMPLES, Problems

NO_KEYFRAMES = "track without a keyframe: left out"
SAME_KEYFRAME = "second keyframe of one frame: left out"
BEHIND = "keyframe behind the last frame of the video: used as far as the video goes"
FRAME_RATE = "labels of another frame rate than the video's: keyframes are placed by time"
BOX_KEYS = ("x", "y", "width", "height")
_LARGEST = 1e9
_CLOSE = 1e-6  # frames
# Label Studio rounds the number of frames up, and a browser takes the longest stream for the duration.
_SPARE_FRAMES = 3
_SPARE_SHARE = 0.05


def keyframe_table(value: dict[str, Any], place: str, problems: Problems) -> np.ndarray:
    """Keyframes of one track in order of time.

    Args:
        value: of a videorectangle result.
        place: of the result, for messages.
        problems: receives what is wrong.

    Returns:
        (K, 7) float64: frame from 1, x, y, width, height in percent, rotation in degrees, 1 where enabled.
        K is 0 after a failure.
    """
    none = np.zeros((0, 7))
    sequence = value.get("sequence")
    if not isinstance(sequence, list):
        problems.fail(place, "value.sequence: a list of keyframes is expected")
        return none
    if not sequence:
        problems.drop(NO_KEYFRAMES, [place])
        return none
    table = _quick_table(sequence)
    if table is None:
        faults = ((index, _fault(entry)) for index, entry in enumerate(sequence))
        for index, fault in faults:
            if fault:
                problems.fail(f"{place}.value.sequence[{index}]", fault)
        return none
    order = np.argsort(table[:, 0], kind="stable")
    repeated = np.flatnonzero(np.diff(table[order, 0]) == 0) + 1
    if len(repeated):
        places = [f"{place}.value.sequence[{index}]" for index in order[repeated].tolist()]
        problems.drop(SAME_KEYFRAME, places)
    ordered: np.ndarray = table[np.delete(order, repeated)]
    return ordered


def _quick_table(sequence: list[Any]) -> np.ndarray | None:
    """The table when all is as it should be, else None."""
    try:
        rows = [
            (
                entry["frame"], entry["x"], entry["y"], entry["width"], entry["height"],
                entry.get("rotation") or 0, entry.get("enabled", True),
            )
            for entry in sequence
        ]  # fmt: skip
        *columns, enabled = zip(*rows, strict=True)
        if any(not set(map(type, column)) <= {int, float} for column in columns):
            return None
        if not set(map(type, enabled)) <= {bool, int}:
            return None
        table = np.array(rows, np.float64)
    except (KeyError, TypeError, AttributeError, OverflowError):
        return None
    frame = table[:, 0]
    good = (np.abs(table) < _LARGEST).all() and (frame >= 1).all() and (np.floor(frame) == frame).all()
    return table if good else None


def _fault(entry: object) -> str | None:
    """What makes one keyframe unusable, or None."""
    if not isinstance(entry, dict):
        return "a keyframe (an object) is expected"
    frame: Any = entry.get("frame")
    if not _is_number(frame) or frame != int(frame) or frame < 1:
        return f"frame: a whole number from 1 is expected, got {str(frame)[:40]}"
    for key in BOX_KEYS:
        if not _is_number(entry.get(key)):
            return f"{key}: a number (percent of the frame) is expected, got {str(entry.get(key))[:40]}"
    if not _is_number(entry.get("rotation") or 0):
        return f"rotation: a number (degrees) is expected, got {str(entry['rotation'])[:40]}"
    if type(entry.get("enabled", True)) not in (bool, int):
        return f"enabled: true or false is expected, got {str(entry['enabled'])[:40]}"
    return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST


def percent_box(value: dict[str, Any]) -> tuple[float, ...] | None:
    """x, y, width, height and rotation of a box of an image, or None when one of them is no number."""
    numbers = [value.get(key) for key in BOX_KEYS]
    numbers.append(value.get("rotation") or 0)
    return tuple(numbers) if all(map(_is_number, numbers)) else None  # type: ignore[arg-type]


def polygon_box(value: dict[str, Any]) -> tuple[float, ...] | None:
    """The same of the box around a polygon."""
    points = value.get("points")
    if not isinstance(points, list) or not points:
        return None
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            return None
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    return left, top, right - left, bottom - top, 0.0


def frames_per_step(
    values: list[dict[str, Any]],
    frames: int,
    fps: float | None,
    place: str,
    problems: Problems,
) -> float:
    """How many frames of the video one frame of the labels lasts: 1 unless the frame rates differ.

    A length that does not fit the video is noted as an error in ``problems``.

    Args:
        values: of the videorectangle results of a task; their keyframes were checked.
        frames: true number of frames of the video.
        fps: its frames per second, or None.
        place: of the task, for messages.
        problems: receives what is wrong.
    """
    spare = max(_SPARE_FRAMES, _SPARE_SHARE * frames)
    for value in values:
        said, duration_s = value.get("framesCount"), value.get("duration")
        if not is_plain_number(said) or not said > 0:  # type: ignore[operator]
            continue
        count = float(said)  # type: ignore[arg-type]
        rate = None
        if fps and is_plain_number(duration_s) and duration_s > 0:  # type: ignore[operator]
            rate = _label_rate(count, float(duration_s), values)  # type: ignore[arg-type]
        step = fps / rate if fps and rate else 1.0
        if abs(step - 1) * min(count, frames) <= 1.5:  # the number of frames was rounded up
            step = 1.0
        if abs(count * step - frames) > spare:
            problems.fail(
                place,
                f"framesCount: the labels are of {count:g} frames"
                + (f" ({float(duration_s):g} s)" if rate else "")  # type: ignore[arg-type]
                + f", the video has {frames}; are they of one cut?",
            )
        elif step != 1.0:
            problems.drop(FRAME_RATE, [f"{place} ({rate:.5g} a second, the video {fps:.5g})"])
        return step
    return 1.0


def _label_rate(count: float, duration_s: float, values: list[dict[str, Any]]) -> float:
    """Frames per second that the labels count: roughly by their number, exactly by the time of a keyframe."""
    latest = max((value["sequence"][-1] for value in values), key=lambda entry: entry["frame"])
    if _is_number(latest.get("time")) and latest["time"] > 0:
        exact = float(latest["frame"] / latest["time"])
        if abs(exact * duration_s - count) <= 1.5:
            return exact
    return count / duration_s


def track_boxes(
    table: np.ndarray, step: float, frames: int, place: str, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """All frames of one track.

    Args:
        table: its keyframes, at least one.
        step: frames of the video that one frame of the labels lasts.
        frames: true number of frames of the video.
        place: of the result, for messages.
        problems: receives what is wrong.

    Returns:
        (M,) int64 frames from 0 and (M, 5) float64 x, y, width, height in percent, rotation in degrees.
    """
    position = (table[:, 0] - 1) * step
    last = frames - 1
    spare = max(_SPARE_FRAMES, _SPARE_SHARE * frames)
    behind = np.flatnonzero(position > last + _CLOSE)
    if len(behind) and position[-1] > last + spare:
        problems.fail(
            place,
            f"frame: {table[-1, 0]:.0f} is not a frame of the video, which has {frames}; "
            "are these the labels of this video?",
        )
        return np.zeros(0, np.int64), np.zeros((0, 5))
    if len(behind):
        places = [f"{place} (frame {table[index, 0]:.0f})" for index in behind[:EXAMPLES].tolist()]
        problems.drop(BEHIND, places, len(behind))
    enabled = table[:, 6] != 0
    # An object that is never switched off stays to the end; at the keyframe that switches it off it is there.
    until = np.append(position[1:], max(last, position[-1]))
    start = np.clip(np.ceil(position[enabled] - _CLOSE), 0, frames).astype(np.int64)
    stop = np.clip(np.floor(until[enabled] + _CLOSE) + 1, 0, frames).astype(np.int64)
    change = np.bincount(start, minlength=frames + 1) - np.bincount(stop, minlength=frames + 1)
    there = np.cumsum(change[:frames]) > 0
    nearest = np.rint(position).astype(np.int64)
    there[nearest[nearest < frames]] = True
    at = np.flatnonzero(there)
    box = np.stack([np.interp(at, position, table[:, column]) for column in range(1, 6)], axis=1)
    return at, box


def boxes_px(boxes_percent: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Upright boxes around rotated ones.

    Args:
        boxes_percent: (M, 5) x, y, width, height in percent of the frame, degrees clockwise around (x, y).
        sizes_wh: (M, 2) or (1, 2) width and height of the frames in pixels.

    Returns:
        (M, 4) edges in pixels.
    """
    left, top, width, height = (boxes_percent[:, :4] * np.tile(sizes_wh, 2) / 100).T
    angle = np.deg2rad(boxes_percent[:, 4])
    upright = boxes_percent[:, 4] % 360 == 0
    cos, sin = np.where(upright, 1.0, np.cos(angle)), np.where(upright, 0.0, np.sin(angle))
    x = left + np.stack([0 * width, width * cos, width * cos - height * sin, -height * sin])
    y = top + np.stack([0 * width, width * sin, width * sin + height * cos, height * cos])
    turned = np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)
    plain = np.stack([left, top, left + width, top + height], axis=1)
    boxes: np.ndarray = np.where(upright[:, None], plain, turned)
    return boxes
