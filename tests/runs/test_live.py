"""A live session: the newest result for any number of watchers, whatever the source does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from seqdet.runs.live import open_live


def test_a_file_plays_to_its_end_and_several_watchers_cost_one_inference(
    model_path: Path, make_video: Callable[..., Path]
) -> None:
    numbers: list[list[int]] = [[], [], []]

    def watch(mine: list[int]) -> None:
        while (live := session.wait_newer(mine[-1] if mine else 0, 20)) is not None:
            mine.append(live.number)

    with open_live(str(make_video("sky.mp4", frames=20)), model=model_path, device="cpu") as session:
        watchers = [threading.Thread(target=watch, args=(mine,)) for mine in numbers]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join(30)
        status = session.status()
    assert status.state == "ended"
    assert status.captured == 20
    assert status.detected + status.dropped == 20
    for mine in numbers:
        assert mine == sorted(set(mine))
        assert mine[-1] == status.detected


def test_a_loop_goes_on_and_its_frames_count_on(model_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video("sky.mp4", frames=5, fps=50)
    with open_live(str(path), model=model_path, device="cpu", loop=True) as session:
        seen, times_s, number = [], [], 0
        while not seen or seen[-1] < 12:
            live = session.wait_newer(number, 20)
            assert live is not None
            number = live.number
            seen.append(live.result.frame.index)
            times_s.append(live.result.time_s)
    assert seen == sorted(set(seen))
    assert times_s == sorted(set(times_s))
