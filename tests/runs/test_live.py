"""A live session: the newest result for any number of watchers, whatever the source does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_source import SOON_S, Scripted, showing, until

from seqdet.errors import InputError, OutputError
from seqdet.live_types import Zone
from seqdet.results.sinks import Sink, open_sink
from seqdet.results.tracks import (
    associate,
    initial_track_state,
    label_detections,
    living_tracks,
    with_class_evidence,
)
from seqdet.runs.live import Enough, LiveSession, open_live
from seqdet.runs.live_memory import RESET_AFTER_S, initial_memory, look
from seqdet.runs.live_views import live_rows, show_window
from seqdet.runs.stream import StreamState
from seqdet.types import Detections, Frame, FrameResult
from seqdet.video.camera import Camera, Captured
from seqdet.video.pictures import SourceLost, SourceRefused

CLASSES = ("drone", "bird")


class SquareFinder:
    """Stands for a model: finds the one white square, of the first class, and follows it."""

    classes = CLASSES

    def __init__(self, score: float = 0.9) -> None:
        self.score = score

    def initial_state(self) -> StreamState:
        return StreamState(None, initial_track_state(2), 0, np.zeros(2))

    def advance(self, frames: Sequence[Frame], state: StreamState) -> tuple[list[FrameResult], StreamState]:
        (frame,) = frames
        rows, columns = np.nonzero(frame.rgb[..., 0] == 255)
        box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
        one = np.ones(len(box), np.float32)
        found = replace(
            Detections.empty(2),
            boxes_xyxy_px=np.array(box, np.float32).reshape(-1, 4),
            scores=self.score * one,
            class_ids=np.zeros(len(box), np.int64),
            track_ids=np.full(len(box), -1, np.int64),
            track_class_ids=np.full(len(box), -1, np.int64),
            track_scores=one,
            class_scores=np.ones((len(box), 2), np.float32),
            features=np.zeros((len(box), 0), np.float32),
            motion_px=np.zeros((len(box), 2), np.float32),
        )
        step = associate(state.tracks, found, frame.index, frame.time_s)
        tracks = with_class_evidence(step.state, step.rows, np.tile([0.8, 0.2], (len(box), 1)), one)
        result = FrameResult(frame, label_detections(found, tracks, step.rows), CLASSES, "drone", 0.8)
        return [result], StreamState(None, tracks, state.frames + 1, np.zeros(2))


def scene(seed: int = 1, left: int | None = 20, size_wh: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A rough grey picture with a white square of 12 px, 20 px from the top."""
    rng = np.random.default_rng(seed)
    rgb = np.kron(rng.integers(40, 200, (size_wh[1] // 8, size_wh[0] // 8, 1)), np.ones((8, 8, 3)))
    rgb = rgb.astype(np.uint8)
    if left is not None:
        rgb[20:32, left : left + 12] = 255
    return rgb


@contextmanager
def session_on(source: Scripted, **options: Any) -> Iterator[LiveSession]:
    camera = Camera(source, stale_after_s=0.3)
    with LiveSession(
        "camera 0", camera, SquareFinder(options.pop("found_score", 0.9)), 0.3, **options
    ) as one:
        yield one


def feed(source: Scripted, session: LiveSession, rgb: np.ndarray, times: int = 4) -> None:
    """Pictures, each looked at before the next comes."""
    for _ in range(times):
        before = session.status().detected
        source.script.put(showing(rgb))
        until(lambda: session.status().detected > before)  # noqa: B023


def kinds(session: LiveSession) -> list[str]:
    return [event.kind for event in session.events_since(0) if event.kind != "sequence_label"]


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
    assert "scene_cut" in kinds(session), "the picture after the last one does not follow from it"


def test_a_track_is_told_and_counted_in_a_zone() -> None:
    source = Scripted()
    with session_on(source) as session:
        session.set_zones([Zone("gate", ((0, 0), (50, 0), (50, 64), (0, 64)))])
        feed(source, session, scene(left=20))
        live = session.wait_newer(0, SOON_S)
        assert live is not None
        assert live.zones == session.zones()
        (gate,) = session.zones()
        assert (gate.inside, gate.entered) == (1, 1)
        session.set_zones([gate.zone, Zone("other", gate.zone.polygon_px)])
        assert [count.inside for count in session.zones()] == [1, 0], "what stays goes on counting"
        assert kinds(session) == ["track_started", "zone_entered"]
        assert [event.number for event in session.events_since(0)] == [1, 2]
        assert abs(session.events_since(1)[0].wall_time_s - time.time()) < 60


def test_weak_detections_are_shown_but_do_not_count() -> None:
    source = Scripted()
    with session_on(source, found_score=0.2) as session:
        feed(source, session, scene())
        live = session.wait_newer(0, SOON_S)
        assert live is not None
        assert len(live.result.detections) == 1
        assert len(session.results_since(0)[-1].result.detections) == 0
        assert kinds(session) == []


def test_a_cut_begins_the_memory_anew_and_ids_are_never_given_twice() -> None:
    source = Scripted()
    with session_on(source) as session:
        feed(source, session, scene(seed=1))
        feed(source, session, scene(seed=2, left=60))
        told = kinds(session)
        # The first picture of the new scene is not yet known to be one.
        assert told == [*["track_started"] * 2, "scene_cut", *["track_ended"] * 2, "track_started"]
        started = [event.track_id for event in session.events_since(0) if event.kind == "track_started"]
        assert started == [1, 2, 3]


def test_a_lost_stream_is_told_and_so_is_its_return() -> None:
    source = Scripted()
    with session_on(source) as session:
        feed(source, session, scene())
        source.script.put(SourceLost("the cable is out"))
        until(lambda: "stream_lost" in kinds(session))
        assert session.status().state == "lost"
        feed(source, session, scene())
        until(lambda: "stream_back" in kinds(session))
        assert session.status().reconnects == 1
        until(lambda: kinds(session).count("stream_lost") == 2)  # silence, too
        texts = [event.text for event in session.events_since(0) if event.kind == "stream_lost"]
        assert "the cable is out" in texts[0]
        assert "no picture for" in texts[1]


def test_a_source_that_never_came_is_no_loss() -> None:
    source = Scripted()
    source.refusal = SourceRefused("no such stream")
    with session_on(source) as session:
        until(lambda: session.is_over)
        assert (session.status().state, session.events_since(0)) == ("refused", ())
        with pytest.raises(InputError, match="no such stream"):
            list(live_rows(session))


def captured(rgb: np.ndarray, index: int, time_s: float, cut: bool = False) -> Captured:
    return Captured(rgb, index, time_s, time_s, 1, cut)


@pytest.mark.parametrize(
    ("second", "anew"),
    [
        (captured(scene(), 1, 0.04), False),
        (captured(scene(), 1, RESET_AFTER_S), False),
        (captured(scene(), 1, RESET_AFTER_S + 0.1), True),
        (captured(scene(), 1, 0.04, cut=True), True),
        (captured(scene(size_wh=(128, 64)), 1, 0.04), True),
    ],
    ids=["next", "a pause", "a gap", "a loop", "another size"],
)
def test_what_cannot_be_true_any_more_is_forgotten(second: Captured, anew: bool) -> None:
    model = SquareFinder()
    first = look(model, captured(scene(), 0, 0.0), initial_memory(model))
    after = look(model, second, first.memory)
    assert after.memory.stream.frames == (1 if anew else 2)
    assert [track.track_id for track in after.ended] == ([1] if anew else [])


def test_tracks_that_are_over_leave_the_memory_but_not_their_word() -> None:
    model = SquareFinder()
    memory, over, said = initial_memory(model), 0, 0.0
    for index in range(60):
        left = 20 if index % 6 < 3 else None  # seen for three frames, gone for longer than a track lives
        one = look(model, captured(scene(left=left), index, index * 0.5), memory)
        memory, over = one.memory, over + len(one.ended)
        said += sum(track.class_evidence.sum() for track in one.ended)
        assert len(memory.stream.tracks.ended) <= 1
    assert over == 10 - len(living_tracks(memory.stream.tracks))
    assert sum(track.class_evidence.sum() for track in memory.stream.tracks.ended) == pytest.approx(said)


def test_rows_are_written_as_they_come_and_end_with_the_sequence(tmp_path: Path) -> None:
    source, path = Scripted(), tmp_path / "rows.jsonl"
    with session_on(source, sinks=[open_sink(path, CLASSES)]) as session:
        feed(source, session, scene(), times=3)
        part = path.with_name("rows.jsonl.part").read_text("utf-8").splitlines()
        assert len(part) == 3, "a killed session leaves what it found"
        feed(source, session, scene(left=None), times=1)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["type"] for row in rows] == ["detection"] * 3 + ["sequence"]
    assert rows[0]["source"] == "camera 0"
    assert rows[-1]["frames"] == 4
    assert [track["detections"] for track in rows[-1]["tracks"]] == [3]
    report = session.report()
    assert (report.detected, report.detections, report.tracks) == (4, 3, 1)


def test_a_full_disk_ends_the_session_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Scripted()

    def full(self: Sink, name: str, result: FrameResult) -> None:
        raise OutputError("the disk is full")

    sink = open_sink(tmp_path / "rows.jsonl", CLASSES)
    monkeypatch.setattr(Sink, "write", full)
    with session_on(source, sinks=[sink]) as session:
        source.script.put(showing(scene()))
        with pytest.raises(OutputError, match="the disk is full"):
            session.wait_newer(0, SOON_S)
        assert session.status().message == "the disk is full"


@pytest.mark.parametrize("limit", [{"max_frames": 3}, {"max_seconds": 0.2}])
def test_enough_is_enough(limit: dict[str, float]) -> None:
    source = Scripted()
    with session_on(source, **limit) as session:
        for _ in range(3):
            source.script.put(showing(scene()))
            time.sleep(0.02)
        until(lambda: session.is_over)
        with pytest.raises(Enough):
            session.wait_newer(10**6, SOON_S)
    assert threading.active_count() < 20


def test_a_slow_reader_of_rows_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Scripted()
    monkeypatch.setattr("seqdet.runs.live.RESULTS_KEPT", 2)
    with session_on(source, max_frames=6) as session:
        rows = live_rows(session)
        feed(source, session, scene(), times=1)
        assert next(rows)["type"] == "detection"
        feed(source, session, scene(), times=5)
        rest: list[dict] = []
        with pytest.raises(Enough):
            rest.extend(rows)
    assert [row["results"] for row in rest if row["type"] == "missed"] == [3]


def test_closing_leaves_no_thread() -> None:
    before = threading.active_count()
    source = Scripted()
    with session_on(source) as session:
        feed(source, session, scene(), times=1)
        assert threading.active_count() == before + 2
    assert threading.active_count() == before


def test_a_window_shows_the_newest_picture_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[np.ndarray, str]] = []

    class FakeWindow:
        def __enter__(self) -> FakeWindow:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def show(self, rgb: np.ndarray, title: str) -> None:
            shown.append((rgb, title))

        def is_closed(self) -> bool:
            source.script.put(showing(scene()))
            return len(shown) == 3

    monkeypatch.setattr("seqdet.runs.live_views.Window", FakeWindow)
    source = Scripted()
    with session_on(source) as session:
        show_window(session)
    assert [title.startswith("camera 0: ") for _, title in shown] == [True] * 3
    assert not np.array_equal(shown[-1][0], scene()), "with its box"
