from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seqdet.data.formats.stills import frame_groups

Make = Callable[..., Path]


def groups(folder: Path, names: list[str]) -> dict[str, list[str]]:
    return {
        group.name: [path.name for path in group.images]
        for group in frame_groups([folder / name for name in names], folder)
    }


def test_consecutive_numbers_are_one_video_in_the_order_of_numbers(tmp_path: Path, make_images: Make) -> None:
    names = [f"clip_{number}.png" for number in (10, 5, 11, 9, 8, 7)]
    make_images(tmp_path, names)
    want = [f"clip_{number}.png" for number in (5, 7, 8, 9, 10, 11)]
    assert groups(tmp_path, names) == {"clip": want}, "one frame is missing; it is a video all the same"


def test_every_fifth_frame_is_a_video(tmp_path: Path, make_images: Make) -> None:
    names = [f"images/a{number:04d}.png" for number in range(0, 40, 5)]
    make_images(tmp_path, names)
    assert groups(tmp_path, names) == {"a": [Path(name).name for name in names]}


def test_numbers_with_gaps_are_single_images(tmp_path: Path, make_images: Make) -> None:
    names = [f"{number:012d}.png" for number in (139, 285, 632, 724, 776, 785)]
    make_images(tmp_path, names)
    assert groups(tmp_path, names) == {Path(name).stem: [name] for name in names}


def test_fewer_than_five_images_stand_alone(tmp_path: Path, make_images: Make) -> None:
    names = ["a1.png", "a2.png", "a3.png", "a4.png"]
    make_images(tmp_path, names)
    assert list(groups(tmp_path, names)) == ["a1", "a2", "a3", "a4"]


def test_another_size_is_another_video(tmp_path: Path, make_images: Make) -> None:
    wide, tall = [f"a{number}.png" for number in range(5)], [f"a{number}.png" for number in range(5, 10)]
    make_images(tmp_path, wide)
    make_images(tmp_path, tall, size_wh=(32, 48))
    assert groups(tmp_path, wide + tall) == {"a": wide, "a_2": tall}


def test_sizes_that_come_mixed_are_a_collection_and_one_that_slipped_in_is_not(
    tmp_path: Path, make_images: Make
) -> None:
    names = [f"a{number:02d}.png" for number in range(20)]
    make_images(tmp_path, names[::2])
    make_images(tmp_path, names[1::2], size_wh=(32, 48))
    assert groups(tmp_path, names) == {Path(name).stem: [name] for name in names}
    make_images(tmp_path, names)
    make_images(tmp_path, names[7:8], size_wh=(32, 48))
    assert groups(tmp_path, names) == {"a": names[:7] + names[8:], "a07": ["a07.png"]}


def test_folders_and_prefixes_part_videos_and_names_are_unique(tmp_path: Path, make_images: Make) -> None:
    names = [f"{folder}/x_{number}.png" for folder in ("one", "One", "two/images") for number in range(5)]
    make_images(tmp_path, names)
    found = groups(tmp_path, names)
    assert len({name.lower() for name in found}) == 3
    assert {len(images) for images in found.values()} == {5}
    assert "two_x" in found


def test_what_is_no_image_stands_alone(tmp_path: Path) -> None:
    names = [f"a{number}.png" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(b"no picture")
    assert [len(images) for images in groups(tmp_path, names).values()] == [1] * 6


def test_names_without_a_number_and_in_any_script(tmp_path: Path, make_images: Make) -> None:
    names = ["птица.png", "鳥.png", "b.c.png"]
    make_images(tmp_path, names)
    assert sorted(groups(tmp_path, names)) == sorted(["птица", "鳥", "b.c"])


def test_no_images_are_no_sequences(tmp_path: Path) -> None:
    assert frame_groups([], tmp_path) == []
