"""Which sources are waited for before a model is loaded."""

from __future__ import annotations

from pathlib import Path

from seqdet.video.rehearsal import is_familiar


def test_what_begins_as_videos_do_is_not_waited_for(write_video, tmp_path: Path):
    for suffix in (".mp4", ".mkv", ".avi", ".mov"):
        assert is_familiar(str(write_video(tmp_path / f"a{suffix}", range(3)))), suffix
    assert is_familiar("rtsp://camera/stream")
    assert is_familiar("0")
    assert not is_familiar(str(tmp_path / "missing.mp4"))
    assert not is_familiar("a\0b")
