"""A zip file is ingested as the folder in it would be, and leaves nothing beside the data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seqdet.data.dataset import Dataset, load_dataset
from seqdet.errors import InputError, UsageError
from seqdet.runs.convert import convert
from seqdet.runs.ingest import ingest
from seqdet.runs.synth import synth


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders cvat, mot and coco-vid of one small data set with its videos."""
    folder = tmp_path_factory.mktemp("exports")
    data = synth(folder / "data", task="discs", sequences=3, frames=8, seed=1).out
    for to in ("cvat", "mot", "coco-vid"):
        convert(data, folder / to, to=to, videos="copy")
    return folder


def content(dataset: Dataset) -> dict[str, tuple[object, ...]]:
    return {
        each.name: (each.frames, each.size_wh, each.split, dataset.labels(each).boxes_xyxy_px.tolist())
        for each in dataset.sequences
    }


def zipped(folder: Path, at: Path, nested: bool) -> Path:
    base = folder.parent if nested else folder
    return Path(shutil.make_archive(str(at), "zip", base, folder.name if nested else None))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("to", ["cvat", "mot", "coco-vid"])
def test_as_the_folder_so_the_archive(exports: Path, tmp_path: Path, to: str, nested: bool) -> None:
    source = zipped(exports / to, tmp_path / "export", nested)
    report = ingest(source, tmp_path / "data")
    plain = ingest(exports / to, tmp_path / "plain")
    assert (report.format, report.boxes) == (plain.format, plain.boxes)
    zipped_set, plain_set = load_dataset(tmp_path / "data"), load_dataset(tmp_path / "plain")
    assert content(zipped_set) == content(plain_set)
    assert all(not each.video.is_symlink() for each in zipped_set.sequences)
    assert ".unpacked" not in (tmp_path / "data" / "dataset.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "export.zip", "plain"]


def test_messages_name_the_archive_and_nothing_is_left(exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cvat"
    shutil.copytree(exports / "cvat", folder)
    (label_file, *_) = sorted(folder.glob("*.xml"))
    label_file.write_text(label_file.read_text().replace('xtl="', 'xtl="nan', 1))
    source = zipped(folder, tmp_path / "export", nested=False)
    with pytest.raises(InputError, match=rf"export.zip/{label_file.name}:\d+: ") as caught:
        ingest(source, tmp_path / "new" / "data")
    assert caught.value.exit_code == 3
    assert "unpacked" not in str(caught.value)
    for video in folder.glob("videos/*"):
        video.unlink()
    with pytest.raises(InputError, match=r"labels.zip holds no video or image: unpack it beside them"):
        ingest(zipped(folder, tmp_path / "labels", nested=False), tmp_path / "new" / "data")
    with pytest.raises(UsageError, match="--link"):
        ingest(source, tmp_path / "new" / "data", link=True)
    (tmp_path / "odd.zip").write_bytes(source.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"odd\.zip"):
        ingest(tmp_path / "odd.zip", tmp_path / "new" / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cvat", "export.zip", "labels.zip", "odd.zip"]


def test_places_in_the_report_name_the_archive(exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mot"
    shutil.copytree(exports / "mot", folder)
    (labels, *_) = sorted((folder / "gt").iterdir())
    first = labels.read_text().splitlines()[0].split(",")
    labels.write_text(labels.read_text() + ",".join([first[0], "99", "-4", *first[3:]]) + "\n")
    report = ingest(zipped(folder, tmp_path / "export", nested=False), tmp_path / "data")
    (entry,) = report.dropped
    assert entry.examples[0].startswith(f"{tmp_path / 'export.zip'}/gt/{labels.name}:")
    assert any(f"(first: gt/{labels.name}:" in note for note in report.notes)
