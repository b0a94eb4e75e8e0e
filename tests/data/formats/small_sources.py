"""The smallest source of each label format that ingests: one clip, some tracks in each of its frames.

All media are called ``clip``, so that a test can give them another name by replacing that word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

SIZE_WH = (64, 48)
LEFT = 10.5  # of every first box; no other number in a source is written like it


class Source(NamedTuple):
    """One source.

    Attributes:
        labels: the label file, to which faults are done.
        text: what is in it, for so many tracks and frames.
        media: its videos (.avi) and images (.png), for so many frames.
        others: its other files.
        frames: how many it has when it is smallest.
    """

    labels: str
    text: Callable[[int, int], str]
    media: Callable[[int], list[str]]
    others: dict[str, str]
    frames: int = 2


def ltwh(track: int, frame: int) -> tuple[float, float, float, float]:
    """A box of its own for each track and frame, inside of the picture."""
    return (
        LEFT + track % 1000 / 50,
        5.25 + track // 1000 / 50 + frame % 100 / 100,
        20.0 + frame // 100 / 100,
        15.0,
    )


def edges(track: int, frame: int) -> tuple[float, float, float, float]:
    left, top, width, height = ltwh(track, frame)
    return left, top, left + width, top + height


def cells(values: tuple[float, ...], between: str = ",") -> str:
    return between.join(f"{value:.10g}" for value in values)


def each(tracks: int, frames: int) -> list[tuple[int, int]]:
    """Every track of every frame."""
    return [(track, frame) for frame in range(frames) for track in range(tracks)]


def images(folder: str) -> Callable[[int], list[str]]:
    return lambda frames: [f"{folder}/{number:06d}.png" for number in range(frames)]


def mot(tracks: int, frames: int) -> str:
    return "".join(
        f"{frame + 1},{track},{cells(ltwh(track, frame))},1,1,1\n" for track, frame in each(tracks, frames)
    )


CATEGORIES = [{"id": 1, "name": "bird"}]


def coco(tracks: int, frames: int) -> str:
    return json.dumps({
        "images": [{"id": f, "file_name": f"clip/{f:06d}.png"} for f in range(frames)],
        "annotations": [
            {"id": n, "image_id": f, "category_id": 1, "bbox": ltwh(t, f)}
            for n, (t, f) in enumerate(each(tracks, frames))
        ],
        "categories": CATEGORIES,
    })  # fmt: skip


def coco_vid(tracks: int, frames: int) -> str:
    return json.dumps({
        "videos": [{"id": 1, "name": "clip"}],
        "images": [
            {"id": f, "video_id": 1, "frame_id": f, "file_name": f"clip/{f:06d}.png"} for f in range(frames)
        ],
        "annotations": [
            {"id": n, "image_id": f, "category_id": 1, "track_id": t, "bbox": ltwh(t, f)}
            for n, (t, f) in enumerate(each(tracks, frames))
        ],
        "categories": CATEGORIES,
    })  # fmt: skip


def youtube_vis(tracks: int, frames: int) -> str:
    return json.dumps({
        "videos": [{"id": 1, "file_names": [f"clip/{f:06d}.png" for f in range(frames)]}],
        "annotations": [
            {"id": t, "video_id": 1, "category_id": 1, "bboxes": [ltwh(t, f) for f in range(frames)]}
            for t in range(tracks)
        ],
        "categories": CATEGORIES,
    })  # fmt: skip


def yolo(tracks: int, _: int) -> str:
    width, height = SIZE_WH
    boxes = [ltwh(track, 0) for track in range(tracks)]
    return "".join(
        f"0 {cells(((x + w / 2) / width, (y + h / 2) / height, w / width, h / height), ' ')}\n"
        for x, y, w, h in boxes
    )


def sides(names: tuple[str, ...], values: tuple[float, ...], form: str) -> str:
    return " ".join(form.format(name, f"{value:.10g}") for name, value in zip(names, values, strict=True))


def cvat(body: str) -> str:
    label = "<labels><label><name>bird</name></label></labels>"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<meta>\n'
        f"<task><name>first</name>{label}</task>\n<source>clip.avi</source>\n</meta>\n{body}</annotations>\n"
    )


CVAT, ATTRIBUTE = ("xtl", "ytl", "xbr", "ybr"), '{}="{}"'


def cvat_video(tracks: int, frames: int) -> str:
    return cvat("".join(
        f'<track id="{t}" label="bird">\n'
        + "".join(
            f'<box frame="{f}" outside="0" keyframe="1" {sides(CVAT, edges(t, f), ATTRIBUTE)}/>\n'
            for f in range(frames)
        )
        + "</track>\n"
        for t in range(tracks)
    ))  # fmt: skip


def cvat_images(tracks: int, frames: int) -> str:
    return cvat("".join(
        f'<image id="{f}" name="clip/{f:06d}.png" width="64" height="48">\n'
        + "".join(
            f'<box label="bird" {sides(CVAT, edges(t, f), ATTRIBUTE)}/>\n' for t in range(tracks)
        )
        + "</image>\n"
        for f in range(frames)
    ))  # fmt: skip


VOC = ("xmin", "ymin", "xmax", "ymax")


def voc(tracks: int, _: int) -> str:
    boxes = [sides(VOC, edges(track, 0), "<{0}>{1}</{0}>") for track in range(tracks)]
    objects = "".join(f"<object>\n<name>bird</name><bndbox>{box}</bndbox>\n</object>\n" for box in boxes)
    return f"<annotation>\n<filename>clip.png</filename>\n{objects}</annotation>\n"


def imagenet_vid(tracks: int, _: int) -> str:
    text = voc(tracks, 1).replace("<filename>clip.png</filename>", "<filename>000000</filename>")
    first, *rest = text.split("<name>bird</name>")
    return first + "".join(
        f"<trackid>{t}</trackid><name>n01503061</name>{part}" for t, part in enumerate(rest)
    )


def label_studio(tracks: int, frames: int) -> str:
    def keyframe(track: int, frame: int) -> dict[str, object]:
        left, top, width, height = ltwh(track, frame)
        return {"frame": frame + 1, "x": left, "y": top, "width": width, "height": height, "enabled": True}

    results = [
        {
            "id": f"t{t}", "type": "videorectangle", "from_name": "box", "to_name": "video",
            "value": {"sequence": [keyframe(t, f) for f in range(frames)], "labels": ["bird"]},
        }
        for t in range(tracks)
    ]  # fmt: skip
    return json.dumps([
        {"id": 1, "data": {"video": "/data/upload/1/clip.avi"}, "annotations": [{"id": 5, "result": results}]}
    ])  # fmt: skip


def datumaro(tracks: int, frames: int) -> str:
    return json.dumps({
        "infos": {},
        "categories": {"label": {"labels": [{"name": "bird"}]}},
        "items": [
            {
                "id": f"clip{f}",
                "attr": {"frame": f},
                "image": {"path": f"clip/{f:06d}.png"},
                "annotations": [
                    {
                        "id": 0, "type": "bbox", "bbox": ltwh(t, f), "label_id": 0, "group": 0,
                        "attributes": {"track_id": t},
                    }
                    for t in range(tracks)
                ],
            }
            for f in range(frames)
        ],
    })  # fmt: skip


def kitti(tracks: int, frames: int) -> str:
    return "".join(
        f"{f} {t} Bird 0 0 -1.57 {cells(edges(t, f), ' ')} 1.5 1.6 3.9 -5.1 1.8 13.4 -2.0\n"
        for t, f in each(tracks, frames)
    )


def csv(tracks: int, frames: int) -> str:
    rows = "".join(f"clip.avi,{f},{t},bird,{cells(edges(t, f))}\n" for t, f in each(tracks, frames))
    return f"video,frame,track_id,class,left,top,right,bottom\n{rows}"


VID = "VID/train/clip/000000"
SOURCES = {
    "mot": Source(
        "gt/gt.txt", mot, lambda n: [f"clip/{k + 1:06d}.png" for k in range(n)],
        {"seqinfo.ini": "[Sequence]\nimDir=clip\n"},
    ),
    "coco": Source("labels.json", coco, images("clip"), {}),
    "coco-vid": Source("labels.json", coco_vid, images("clip"), {}),
    "youtube-vis": Source("labels.json", youtube_vis, images("clip"), {}),
    "yolo": Source(
        "labels/clip.txt", yolo, lambda _: ["images/clip.png"],
        {"data.yaml": "names: [bird]\ntrain: images\n"}, frames=1,
    ),
    "cvat video": Source("annotations.xml", cvat_video, lambda _: ["clip.avi"], {}),
    "cvat images": Source("annotations.xml", cvat_images, images("clip"), {}),
    # The annotation has not the name of the image, so that <filename> counts.
    "voc": Source("Annotations/a.xml", voc, lambda _: ["JPEGImages/clip.png"], {}, frames=1),
    "imagenet-vid": Source(
        f"Annotations/{VID}.xml", imagenet_vid, lambda _: [f"Data/{VID}.png"], {}, frames=1
    ),
    "label-studio": Source("export.json", label_studio, lambda _: ["clip.avi"], {}),
    "datumaro": Source("annotations/default.json", datumaro, images("images/default/clip"), {}),
    "kitti": Source("label_02/clip.txt", kitti, images("image_02/clip"), {}),
    "csv": Source("rows.csv", csv, lambda _: ["clip.avi"], {}),
    "class-folders": Source("bird/clip.avi", lambda *_: "", lambda _: ["drone/clip.avi"], {}),
}  # fmt: skip
READERS = {"cvat video": "cvat", "cvat images": "cvat", "imagenet-vid": "voc"}


def make(folder: Path, name: str, text: bytes | None = None, tracks: int = 1, frames: int = 0) -> Path:
    """Write a source with ``text`` in place of its labels; class folders have a video there."""
    source = SOURCES[name]
    frames = frames or source.frames
    for media in [*source.media(frames), *([source.labels] if name == "class-folders" else [])]:
        make_media(folder / media, frames)
    for path, content in source.others.items():
        write(folder / path, content.encode())
    if name != "class-folders" or text is not None:
        write(folder / source.labels, source.text(tracks, frames).encode() if text is None else text)
    return folder


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def make_media(path: Path, frames: int, size_wh: tuple[int, int] = SIZE_WH) -> None:
    """An image, or a video of motion JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    if path.suffix == ".png":
        assert cv2.imwrite(str(path), picture)
        return
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size_wh)
    for _ in range(frames):
        writer.write(picture)
    writer.release()
