"""Renders the films in sample_videos/ and their truth.

    uv run python tools/make_sample_videos.py [--out sample_videos] [--seed N]

Frames and truth follow from the seed; the bytes of a film depend on the version of its encoder. The seeds lie
outside of the range that training draws from (0 to 2**62 - 1), so no model has been trained on these films.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from seqdet.data.synth.scene import Actor, SceneOptions, render_scene
from seqdet.types import Targets
from seqdet.video.writer import VideoWriter

FIRST_SEED = 2**62
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Sample:
    """One film: its name, its scene, and how hard it is compressed (x264's CRF)."""

    name: str
    options: SceneOptions
    crf: int


THERMAL_CAST = (
    Actor("drone", 24, (0.30, 0.36), 1.5, 0.9),
    Actor("airplane", 26, (0.55, 0.20), 4.0, 0.9, behind_clouds=True),
    Actor("bird", 15, (0.45, 0.50), 6.0, 0.8),
    Actor("bird", 13, (0.60, 0.44), 6.3, 0.7),
    Actor("helicopter", 34, (0.62, 0.62), 8.5, 0.95),
)
VISIBLE_CAST = (
    Actor("helicopter", 74, (0.30, 0.30), 2.0, 0.95),
    Actor("bird", 34, (0.55, 0.45), 3.0, 0.95),
    Actor("airplane", 62, (0.55, 0.16), 5.0, 0.95, behind_clouds=True),
    Actor("drone", 44, (0.70, 0.50), 6.5, 0.95),
)


def samples(seed: int) -> tuple[Sample, Sample]:
    """Both films; `seed` moves them to another scene. With 0 they are those of the repository."""
    first = FIRST_SEED + seed
    thermal = SceneOptions(
        "thermal", (320, 256), frames=360, seed=first + 23, cast=THERMAL_CAST, compression=False
    )
    visible = SceneOptions(
        "visible", (640, 512), frames=300, seed=first + 1032, cast=VISIBLE_CAST, compression=False
    )
    return Sample("airspace_thermal", thermal, 18), Sample("airspace_visible", visible, 20)


def mot_lines(frame: int, truth: Targets) -> list[str]:
    """One frame as MOT Challenge lines: frames and pixels count from 1, so does the class."""
    return [
        f"{frame + 1},{track},{left + 1:.2f},{top + 1:.2f},{right - left:.2f},{bottom - top:.2f}"
        f",1,{kind + 1},1"
        for track, kind, (left, top, right, bottom) in zip(
            truth.track_ids.tolist(), truth.class_ids.tolist(), truth.boxes_xyxy_px.tolist(), strict=True
        )
    ]


def make(sample: Sample, out: Path) -> None:
    """Renders one film and its truth into the folder `out`; what was there is replaced."""
    out.mkdir(parents=True, exist_ok=True)
    video = out / f"{sample.name}.mp4"
    lines: list[str] = []
    options = sample.options
    with VideoWriter(
        video,
        size_wh=options.size_wh,
        fps_hint=options.fps,
        crf=sample.crf,
        preset="slow",
        overwrite=True,
    ) as writer:
        for index, (rgb, truth) in enumerate(render_scene(options)):
            writer.write(rgb, index / options.fps)
            lines += mot_lines(index, truth)
    (out / f"{sample.name}.mot.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = video.stat().st_size
    print(f"{video}: {options.frames} frames, {len(lines)} boxes, {size} bytes")
    if size > MOST_BYTES:
        raise SystemExit(
            f"{video} is larger than {MOST_BYTES} bytes; raise its CRF in tools/make_sample_videos.py"
        )


def main() -> None:
    """Parses the options and makes both films."""
    parser = argparse.ArgumentParser(description="render the films in sample_videos/ and their truth")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "sample_videos")
    parser.add_argument("--seed", type=int, default=0, help="another scene (default: %(default)s)")
    arguments = parser.parse_args()
    for sample in samples(arguments.seed):
        make(sample, arguments.out)


if __name__ == "__main__":
    main()
