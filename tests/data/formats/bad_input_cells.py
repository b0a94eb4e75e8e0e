"""What each reader must do with each fault; test_bad_input_table.py holds them to it.

A cell is what the message must say, or READ where the source must give the boxes that it would give without
the fault, or None with the reason beside it where the format has nothing that could have the fault.
"""

from __future__ import annotations

from typing import NamedTuple

READ = "it is read"


class Row(NamedTuple):
    """What one reader must do with each fault.

    Attributes:
        truncated: cut in the middle of the last line.
        empty: of no byte.
        nan: the first coordinate is NaN.
        wrong_type: a piece of the text, what it becomes, what is said.
        negative: the same for an id that is negative.
        path: the file that names media, and that piece of it.
        above: of ``../`` before that piece.
        absolute: of ``/etc/`` before it.
        is_xml: an entity bomb can be put before it.
    """

    truncated: str | None
    empty: str | None
    nan: str | None
    wrong_type: tuple[str, str, str] | None
    negative: tuple[str, str, str] | None
    path: tuple[str, str] | None
    above: str = ""
    absolute: str = ""
    is_xml: bool = False


JSON_CUT = r"\.json:1: not valid JSON: .*\(column \d+\)"
JSON_EMPTY = r"\.json:1: not valid JSON: Expecting value \(column 1\)"
XML_CUT = r"\.xml:\d+: not valid XML: \w+"
XML_EMPTY = r"\.xml:1: not valid XML: no element found"
NOT_FINITE = "a coordinate is not a finite number"
LEADS_OUT = r"'{}' leads out of"

TABLE = {
    "mot": Row(
        truncated=r"gt\.txt:2: 9 columns are expected.*, got [45]",
        empty=READ,  # says that its video holds no object
        nan=rf"gt\.txt:1: box: {NOT_FINITE}",
        wrong_type=("10.5", "ten", r"gt\.txt:1: left: a number is expected, got 'ten'"),
        negative=("1,0,10.5", "1,-7,10.5", r"gt\.txt:1: track: 0 or more, or -1 for none, .*-7"),
        path=("seqinfo.ini", "clip"),
        above=r"seqinfo\.ini: imDir: " + LEADS_OUT,
        absolute=r"seqinfo\.ini: imDir: " + LEADS_OUT,
    ),
    "coco": Row(
        truncated=JSON_CUT,
        empty=JSON_EMPTY,
        nan=rf"labels\.json: annotations\[0\]: box: {NOT_FINITE}",
        wrong_type=("10.5", '"10.5"', r"labels\.json: annotations\[0\]: bbox: \[left, top, width, height\]"),
        negative=('"image_id": 0', '"image_id": -4', r"labels\.json: annotations\[0\]: image_id: .*-4"),
        path=("labels.json", "clip/000000.png"),
        above=r"labels\.json: images\[0\]: file_name: " + LEADS_OUT,
        absolute=r"labels\.json: images\[0\]: file_name: " + LEADS_OUT,
    ),
    "coco-vid": Row(
        truncated=JSON_CUT,
        empty=JSON_EMPTY,
        nan=rf"labels\.json: annotations\[0\]: box: {NOT_FINITE}",
        wrong_type=("10.5", '"10.5"', r"labels\.json: annotations\[0\]: bbox: \[left, top, width, height\]"),
        negative=('"track_id": 0', '"track_id": -4', r"labels\.json: annotations\[0\]: track_id: .*-4"),
        path=("labels.json", "clip/000000.png"),
        above=r"labels\.json: images\[0\]: file_name: " + LEADS_OUT,
        absolute=r"labels\.json: images\[0\]: file_name: " + LEADS_OUT,
    ),
    "youtube-vis": Row(
        truncated=JSON_CUT,
        empty=JSON_EMPTY,
        nan=rf"labels\.json: annotations\[0\]: box: {NOT_FINITE}",
        wrong_type=("10.5", '"10.5"', r"labels\.json: annotations\[0\]\.bboxes\[0\]: \[left, top, width"),
        negative=('"id": 0', '"id": -4', r"labels\.json: annotations\[0\]: id: .*-4"),
        path=("labels.json", "clip/000000.png"),
        above=r"labels\.json: videos\[0\]\.file_names\[0\]: " + LEADS_OUT,
        absolute=r"labels\.json: videos\[0\]\.file_names\[0\]: " + LEADS_OUT,
    ),
    "yolo": Row(
        truncated=r"clip\.txt:1: 5 columns or more are expected .*, got [34]",
        empty=READ,  # says that its image holds no object
        nan=rf"clip\.txt:1: {NOT_FINITE}",
        wrong_type=("0 0.", "0 x", r"clip\.txt:1: x centre: a number is expected, got 'x"),
        negative=("0 0.", "-1 0.", r"clip\.txt:1: class: a whole number, 0 or more, is expected, got -1"),
        path=("data.yaml", "images"),
        above=READ,  # Roboflow writes ../train for what is beside data.yaml: that is what is read
        absolute=r"data\.yaml: train: " + LEADS_OUT,
    ),
    "cvat video": Row(
        truncated=XML_CUT,
        empty=XML_EMPTY,
        nan=r"annotations\.xml:8: box: xtl: NaN is no place",
        wrong_type=("10.5", "ten", r"annotations\.xml:8: box: xtl: a number is expected, got 'ten'"),
        negative=('track id="0"', 'track id="-4"', r"annotations\.xml:7: track: id: .*-4"),
        path=("annotations.xml", "clip.avi"),
        above=r"annotations\.xml: task 'first': source: " + LEADS_OUT,
        absolute=r"annotations\.xml: task 'first': source: " + LEADS_OUT,
        is_xml=True,
    ),
    "cvat images": Row(
        truncated=XML_CUT,
        empty=XML_EMPTY,
        nan=r"annotations\.xml:8: box: xtl: NaN is no place",
        wrong_type=("10.5", "ten", r"annotations\.xml:8: box: xtl: a number is expected, got 'ten'"),
        negative=None,  # the ids of images are not read, and boxes have none
        path=("annotations.xml", "clip/000000.png"),
        above=r"annotations\.xml:7: image: name: " + LEADS_OUT,
        absolute=r"annotations\.xml:7: image: name: " + LEADS_OUT,
        is_xml=True,
    ),
    "voc": Row(
        truncated=XML_CUT,
        empty=XML_EMPTY,
        nan=r"a\.xml:3: xmin: .*NaN",
        wrong_type=("10.5", "ten", r"a\.xml:3: xmin: a number is expected, got 'ten'"),
        negative=None,  # VOC has no ids
        path=("Annotations/a.xml", "clip.png"),
        above=r"a\.xml: filename: " + LEADS_OUT,
        absolute=r"a\.xml: filename: " + LEADS_OUT,
        is_xml=True,
    ),
    "imagenet-vid": Row(
        truncated=XML_CUT,
        empty=XML_EMPTY,
        nan=r"000000\.xml:3: xmin: .*NaN",
        wrong_type=("10.5", "ten", r"000000\.xml:3: xmin: a number is expected, got 'ten'"),
        negative=("<trackid>0", "<trackid>-4", r"000000\.xml:3: trackid: .*-4"),
        path=None,  # the place of an annotation says where its image is
        is_xml=True,
    ),
    "label-studio": Row(
        truncated=JSON_CUT,
        empty=JSON_EMPTY,
        nan=r"export\.json: \[0\].*result\[0\].value.sequence\[0\]: x: a number .*nan",
        wrong_type=("10.5", '"10.5"', r"value.sequence\[0\]: x: a number \(percent of the frame\)"),
        negative=('"frame": 1,', '"frame": -4,', r"sequence\[0\]: frame: a whole number from 1 .*-4"),
        path=("export.json", "/data/upload/1/clip.avi"),
        above=r"export\.json: \[0\]: data: " + LEADS_OUT,
        absolute=READ,  # it is a path of the server, and the file of that name here is read
    ),
    "datumaro": Row(
        truncated=JSON_CUT,
        empty=JSON_EMPTY,
        nan=r"default\.json: items\[0\]\.annotations\[0\]: bbox: ",
        wrong_type=("10.5", '"10.5"', r"default\.json: items\[0\]\.annotations\[0\]: bbox: \[left, top, "),
        negative=('"track_id": 0', '"track_id": -4', r"items\[0\]\.annotations\[0\]: track_id: .*"),
        path=("annotations/default.json", "clip/000000.png"),
        above=r"default\.json: items\[0\]: path: " + LEADS_OUT,
        absolute=r"default\.json: items\[0\]: path: " + LEADS_OUT,
    ),
    "kitti": Row(
        truncated=r"clip\.txt:2: 17 or 18 columns are expected, got \d+",
        empty="label files hold no object",
        nan=rf"clip\.txt:1: box: {NOT_FINITE}",
        wrong_type=("10.5", "ten", r"clip\.txt:1: left: a number is expected, got 'ten'"),
        negative=("0 0 Bird", "0 -4 Bird", r"clip\.txt:1: track_id: -1 or more is expected, got -4"),
        path=None,  # the name of a label file says where its frames are
    ),
    "csv": Row(
        truncated=r"rows\.csv:3: 8 columns are expected.*, got \d",
        empty=r"rows\.csv:1: ",
        nan=rf"rows\.csv:2: .*{NOT_FINITE}",
        wrong_type=("10.5", "ten", r"rows\.csv:2: left: a number is expected, got 'ten'"),
        negative=("avi,0,0", "avi,0,-4", r"rows\.csv:2: track_id: .*-4"),
        path=("rows.csv", "clip.avi"),
        above=r"rows\.csv:2: video: " + LEADS_OUT,
        absolute=r"rows\.csv:2: video: " + LEADS_OUT,
    ),
    # Nothing but media: there is no text that could be wrong. The video stands in for the label file.
    "class-folders": Row(
        truncated=r"clip\.avi: not a video that can be read",
        empty=r"clip\.avi: the file is empty",
        nan=None,
        wrong_type=None,
        negative=None,
        path=None,
    ),
}  # fmt: skip
