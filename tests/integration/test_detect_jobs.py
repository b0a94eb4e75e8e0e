"""``detect --jobs``: what one process does, in several; a death costs one source, Ctrl-C nothing."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import av
import pytest

from seqdet.errors import UsageError
from seqdet.runs.detect import detect_files


def _report(report) -> list[tuple]:
    return [(one.source, one.frames, one.detections, one.tracks, one.label) for one in report.sources]


def test_rows_videos_and_reports_are_those_of_one_process(make_video, sure_model: Path, tmp_path) -> None:
    sources = [str(make_video(f"{name}.mp4", frames=5 + 4 * n)) for n, name in enumerate("cab")]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    sources.insert(1, str(broken))
    reports = {}
    for jobs in (1, 2):
        rows = [tmp_path / f"{jobs}.jsonl", tmp_path / f"{jobs}.csv", tmp_path / f"{jobs}.coco.json"]
        reports[jobs] = detect_files(
            sources,
            model=sure_model,
            runtime="torch",
            save=rows,
            out=tmp_path / str(jobs),
            every=2,
            jobs=jobs,
        )
    assert _report(reports[2]) == _report(reports[1])
    assert (reports[2].exit_code, reports[2].sources[1].exit_code) == (4, 3)
    assert reports[2].sources[1].error == reports[1].sources[1].error
    assert all(one.every == 2 for one in reports[2].sources if one.frames)
    for suffix in ("jsonl", "csv", "coco.json"):
        assert (tmp_path / f"2.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()
    for name, frames in (("c", 5), ("a", 9), ("b", 13)):
        with av.open(str(tmp_path / "2" / f"{name}.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == frames


def test_a_process_that_dies_costs_its_source_only(make_video, sure_model: Path) -> None:
    sources = [str(make_video("long.mp4", frames=3000)), str(make_video("short.mp4", frames=5))]
    killed: list[int] = []

    def kill_once(label: str, done: int, total: int | None) -> None:
        if done > 10 and not killed:  # more than the short one has: somebody works on the long one
            for child in multiprocessing.active_children():
                killed.append(child.pid or 0)
                child.kill()

    report = detect_files(sources, model=sure_model, runtime="torch", jobs=2, progress=kill_once)
    assert killed
    assert report.exit_code in (3, 4)
    assert "long.mp4: its process was killed by SIGKILL" in (report.sources[0].error or "")


def test_ctrl_c_leaves_playable_videos_and_rows(make_video, sure_model: Path, tmp_path) -> None:
    sources = [str(make_video(f"{name}.mp4", frames=3000)) for name in "ab"]

    def interrupt(label: str, done: int, total: int | None) -> None:
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect_files(
            sources,
            model=sure_model,
            runtime="torch",
            save=[tmp_path / "rows.jsonl"],
            out=tmp_path / "out",
            jobs=2,
            progress=interrupt,
        )
    assert not multiprocessing.active_children()
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert '"type":"sequence"' in rows[-1].replace(" ", "")
    videos = list((tmp_path / "out").glob("*.mp4"))
    assert videos
    for path in videos:
        with av.open(str(path)) as video:
            assert sum(1 for _ in video.decode(video=0)) > 0


def test_a_target_of_frames_a_second_is_for_one_at_a_time(make_video, sure_model: Path) -> None:
    sources = [str(make_video(f"{name}.mp4")) for name in "ab"]
    with pytest.raises(UsageError, match="--fps-target is for one"):
        detect_files(sources, model=sure_model, runtime="torch", jobs=2, fps_target=30)
