"""`prefetch` gives the same items in the same order, forwards errors, and leaves no thread behind."""

import gc
import threading
import time
import traceback

import pytest

from seqdet.video.prefetch import prefetch


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("seqdet-prefetch")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert prefetch_threads() == []


@pytest.mark.parametrize("depth", [1, 2, 100])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_gives_the_same_items_in_order(count, depth):
    assert list(prefetch(range(count), depth)) == list(range(count))


def test_works_in_another_thread_and_never_runs_further_ahead_than_depth():
    produced, names = [], set()

    def items():
        for item in range(20):
            produced.append(item)
            names.add(threading.current_thread().name)
            yield item

    ahead = []
    for item in prefetch(items(), depth=3):
        time.sleep(0.002)
        ahead.append(len(produced) - item)
    assert names == {"seqdet-prefetch"}
    # One in the consumer's hand, three that wait, one in the producer's hand.
    assert 2 <= max(ahead) <= 5


def test_forwards_an_error_after_the_items_before_it_with_its_own_traceback():
    def where_it_breaks():
        raise OSError("the disk is gone")

    def items():
        yield 1
        yield 2
        where_it_breaks()

    got = []
    with pytest.raises(OSError, match="the disk is gone") as caught:
        got.extend(prefetch(items()))
    assert got == [1, 2]
    assert "where_it_breaks" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def endless(closed):
    try:
        while True:
            yield bytearray(10)
    finally:
        closed.append(threading.current_thread().name)


def leave_by_close(stream):
    next(stream)
    stream.close()


def leave_by_error(stream):
    def consume():
        for _ in stream:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    stream.close()


def leave_by_garbage(stream):
    next(stream)
    del stream


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_error, leave_by_garbage])
@pytest.mark.parametrize("depth", [1, 4])
def test_thread_ends_and_closes_its_items_when_the_consumer_leaves(leave, depth):
    closed = []
    started_s = time.monotonic()
    streams = [prefetch(endless(closed), depth)]
    leave(streams.pop())
    gc.collect()
    assert prefetch_threads() == []
    assert closed == ["seqdet-prefetch"]
    assert time.monotonic() - started_s < 60, "it ends by itself; how soon is the machine's matter"


def test_an_error_in_the_items_close_reaches_the_consumer():
    class Items:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

        def close(self):
            raise RuntimeError("could not close")

    with pytest.raises(RuntimeError, match="could not close"):
        list(prefetch(Items()))


def test_two_in_a_row_overlap_and_both_end():
    closed = []
    stream = prefetch((len(item) for item in prefetch(endless(closed), 2)), 2)
    assert [next(stream) for _ in range(10)] == [10] * 10
    stream.close()
    assert closed == ["seqdet-prefetch"]


def test_never_started_starts_no_thread():
    stream = prefetch(range(3))
    assert prefetch_threads() == []
    stream.close()


def test_depth_is_checked_at_once():
    with pytest.raises(ValueError, match="at least 1"):
        prefetch(range(3), 0)
