"""One file per label format that seqdet writes, behind one protocol; see `protocol`."""

from __future__ import annotations

from seqdet.data.export import coco_vid, cvat, mot, yolo
from seqdet.data.export.protocol import LabelWriter

WRITERS: dict[str, LabelWriter] = {
    mot.NAME: mot,
    coco_vid.NAME: coco_vid,
    yolo.NAME: yolo,
    cvat.NAME: cvat,
}
