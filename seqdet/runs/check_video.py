"""Looks at one video for ``seqdet check``: without decoding it, or once from end to end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace

from seqdet.data.check import Still, VideoFacts, still_stretches
from seqdet.data.check_rows import Finding, Rows
from seqdet.data.dataset import Sequence
from seqdet.data.likeness import Glimpse, Look, glimpse, hash_frames, is_left_behind, look_at
from seqdet.errors import InputError
from seqdet.results.check_page import Picture, draw_labels
from seqdet.video.folder import image_size, list_images
from seqdet.video.probe import count_packets, probe_container
from seqdet.video.reader import MAX_PIXELS, open_video


@dataclass(frozen=True, slots=True)
class VideoLook:
    """What a look at a video gives.

    Attributes:
        facts: what it is, or None where it cannot be read or is damaged.
        found: what is wrong with it.
        looks: of some of its frames.
        pictures: the frames that were asked for, with their labels.
    """

    facts: VideoFacts | None
    found: list[Finding]
    looks: list[Look] = field(default_factory=list)
    pictures: dict[int, Picture] = field(default_factory=dict)


def glance(sequence: Sequence, file: str) -> VideoLook:
    """What a video is, by its header and its packets; nothing is decoded.

    Args:
        sequence: whose video.
        file: its name in findings.
    """

    def broken(message: str) -> VideoLook:
        return VideoLook(None, [Finding("video", "error", file, None, None, message)])

    try:
        if sequence.video.is_dir():
            images = list_images(sequence.video)
            size_wh = image_size(images[0], MAX_PIXELS)
            return VideoLook(VideoFacts(len(images), _either_way(size_wh), None), [])
        info = probe_container(str(sequence.video))
    except InputError as error:
        return broken(str(error))
    count = count_packets(sequence.video)
    if count.broke or count.damaged:
        return broken(f"damaged: {count.broke or f'{count.damaged} bad packets'}")
    if count.missing_bytes:
        return broken(f"cut off: {count.missing_bytes} bytes are missing")
    return VideoLook(VideoFacts(count.packets, _either_way(info.size_wh), info.fps), [])


def _either_way(size_wh: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """A header gives the size before rotation."""
    return size_wh, size_wh[::-1]


def look_through(
    sequence: Sequence,
    file: str,
    group: int,
    usable: Rows,
    captions: Mapping[int, str],
    classes: tuple[str, ...],
    looks: int,
) -> VideoLook:
    """Decode a whole video once.

    Args:
        sequence: whose video.
        file: its name in findings.
        group: position of the sequence, for the looks.
        usable: its labels.
        captions: frame -> caption of the picture that is wanted of it.
        classes: names of the classes.
        looks: how many of its frames are kept to be compared with those of others.
    """
    seen = glance(sequence, file)
    if seen.facts is None:
        return seen
    stills = still_stretches(usable)
    ends: dict[int, list[int]] = defaultdict(list)
    for index, still in enumerate(stills):
        ends[still.first].append(index)
        ends[still.last].append(index)
    glimpses: dict[int, list[Glimpse]] = defaultdict(list)
    hashed = set(hash_frames(sequence.frames, looks))
    labels = usable.labels()
    found: list[Finding] = []
    try:
        with open_video(sequence.video) as reader:
            facts = replace(seen.facts, sizes_wh=(reader.info.size_wh,))
            for frame in reader:
                if frame.size_wh != reader.info.size_wh and not found:
                    message = "{}x{} pixels, other than the first frame".format(*frame.size_wh)
                    found.append(Finding("size", "error", file, None, frame.index, message))
                if frame.index in hashed and (look := look_at(frame.rgb, group, frame.index)):
                    seen.looks.append(look)
                for index in ends.get(frame.index, ()):
                    glimpses[index].append(glimpse(frame.rgb, stills[index].box_xyxy_px))
                if frame.index in captions:
                    caption = captions[frame.index]
                    targets = labels.at(frame.index)
                    seen.pictures[frame.index] = draw_labels(frame, targets, classes, caption)
    except InputError as error:
        return VideoLook(None, [Finding("video", "error", file, None, None, str(error))])
    report = reader.report
    if report.decoded < facts.frames:
        after = report.gaps[0].after_frame if report.gaps else report.decoded - 1
        message = f"only {report.decoded} of {facts.frames} frames can be decoded"
        found.append(Finding("video", "error", file, None, after + 1, message))
    found += _left_behind(sequence, stills, glimpses)
    return VideoLook(facts, found, seen.looks, seen.pictures)


def _left_behind(
    sequence: Sequence, stills: Items[Still], glimpses: Mapping[int, Items[Glimpse]]
) -> list[Finding]:
    return [
        Finding(
            "still-box",
            "warning",
            f"labels/{sequence.name}.csv",
            still.line,
            still.first,
            f"track {still.track_id} does not move to frame {still.last}, while the picture does "
            "and what is in the box changes",
        )
        for index, still in enumerate(stills)
        if len(glimpses.get(index, ())) == 2 and is_left_behind(*glimpses[index])
    ]


def picture_at(
    sequence: Sequence, frame_index: int, usable: Rows, classes: tuple[str, ...], caption: str
) -> Picture | None:
    """One frame with its labels; the video is decoded up to it. None where it cannot be."""
    try:
        with open_video(sequence.video) as reader:
            for frame in reader:
                if frame.index == frame_index:
                    return draw_labels(frame, usable.labels().at(frame_index), classes, caption)
    except InputError:
        return None
    return None
