"""Scheduling of a corpus on many workers, in simulated time, by the real driver and the real ledger.

    python tools/simulate_corpus.py --videos 20000 --workers 1000

Sizes are long-tailed (log-normal), 1 % of the videos fail, workers die at a rate, some are stragglers. Only
the workers are simulated: ``drive`` and the SQLite ledger are those of ``seqdet detect --corpus``. It prints
how busy the workers were, how long the run took, and what the driver itself costs a unit of work.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from seqdet.runs.corpus import drive
from seqdet.runs.corpus_ledger import Ledger
from seqdet.runs.corpus_manifest import Entry
from seqdet.runs.corpus_values import Died, Event, Fingerprint, Finished, Outcome, Part, Unit

FAILING, STRAGGLING, SLOWER = 0.01, 0.01, 4.0
BYTES_A_SECOND = 250_000  # 2 Mbit/s of video
WORK_A_SECOND = 1.0  # seconds of a worker for one second of video
WARM_S = 128 / 30


@dataclass
class SimulatedWorkers:
    """An engine whose workers only take time. ``now_s`` leaps from event to event."""

    hours: dict[str, float]
    workers: int
    cut_s: float
    deaths_an_hour: float
    chance: random.Random
    now_s: float = 0.0
    busy_s: float = 0.0
    lost_s: float = 0.0
    idle: list[float] = field(default_factory=list)  # how many times slower each idle worker is
    running: list[tuple[float, int, float, bool, Unit]] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.idle = [SLOWER if self.chance.random() < STRAGGLING else 1.0 for _ in range(self.workers)]

    def free(self) -> int:
        """Idle workers."""
        return len(self.idle)

    def give(self, unit: Unit) -> None:
        """Some idle worker begins; how long it takes, and whether it dies over it, is known at once."""
        slower = self.idle.pop(self.chance.randrange(len(self.idle)))
        video_s = 3600 * self.hours[unit.source]
        if unit.part is not None:
            video_s = (unit.part.last - unit.part.warm) / 30
        work_s = 2.0 + video_s * WORK_A_SECOND * slower
        if unit.parts or self._is_cut(unit, video_s):
            work_s = 2.0 + video_s * 0.01  # joining, or walking through the packets
        died_s = self.chance.expovariate(self.deaths_an_hour / 3600) if self.deaths_an_hour else math.inf
        dies = died_s < work_s
        took_s = min(died_s, work_s)
        self.busy_s += took_s
        self.lost_s += took_s if dies else 0.0
        heapq.heappush(self.running, (self.now_s + took_s, unit.unit_id, slower, dies, unit))

    def wait(self, timeout_s: float) -> list[Event]:
        """Go on to the next end of a unit."""
        self.now_s, unit_id, slower, dies, unit = heapq.heappop(self.running)
        self.idle.append(slower)
        self.ends_s.append(self.now_s)
        if dies:
            return [Died((unit_id,), "killed by SIGKILL")]
        return [Finished(unit_id, self._outcome(unit))]

    def _is_cut(self, unit: Unit, video_s: float) -> bool:
        return unit.part is None and not unit.parts and bool(self.cut_s) and video_s > 1.5 * self.cut_s

    def _outcome(self, unit: Unit) -> Outcome:
        video_s = 3600 * self.hours[unit.source]
        if int(unit.source[3:]) % round(1 / FAILING) == 0:
            return Outcome(failed="not a video that can be read", exit_code=3)
        if self._is_cut(unit, video_s):
            frames, step = int(video_s * 30), int(self.cut_s * 30)
            starts = [*range(0, max(1, frames - step // 2), step), frames]
            warm = int(WARM_S * 30)
            return Outcome(parts=tuple(Part(max(0, a - warm), a, b) for a, b in itertools.pairwise(starts)))
        seen = Fingerprint(int(video_s * BYTES_A_SECOND), 1, "0" * 64)
        outputs = {f"rows/00/{unit.source[3:]}.{kind}": seen for kind in ("jsonl", "parquet")}
        return Outcome(frames=int(video_s * 30), video_s=video_s, source=seen, outputs=outputs)

    def stop(self, unit_id: int) -> None:
        """Nobody hangs here."""

    def close(self) -> None:
        """Nothing is held."""


def simulate(
    videos: int, workers: int, cut_minutes: float, deaths_an_hour: float, heaviest_first: bool, seed: int = 0
) -> dict[str, float]:
    """One run; figures by name."""
    chance = random.Random(seed)
    # The median is 20 minutes, the mean about an hour; one in a thousand is longer than a day and a half.
    hours = {f"/v/{n}": min(chance.lognormvariate(math.log(1 / 3), 1.5), 72) for n in range(videos)}
    engine = SimulatedWorkers(hours, workers, 60 * cut_minutes, deaths_an_hour, chance)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder)) as ledger:
        ledger.begin({}, (Entry(n, source, source) for n, source in enumerate(hours, start=1)))
        ledger.look(
            (n, "pending", Fingerprint(int(h * 3600 * BYTES_A_SECOND) if heaviest_first else 0, 1), "")
            for n, h in enumerate(hours.values(), start=1)
        )
        started_s, processor_s = time.perf_counter(), time.process_time()
        drive(ledger, engine, attempts=5, lease_s=math.inf, clock=lambda: engine.now_s)
        driver_s, wall_s = time.process_time() - processor_s, time.perf_counter() - started_s
        counts = ledger.counts()
    assert counts["done"] + counts["failed"] == videos, counts
    end_s = max(engine.ends_s)
    return {
        "video_hours": sum(hours.values()),
        "longest_hours": max(hours.values()),
        "done": counts["done"],
        "failed": counts["failed"],
        "run_hours": end_s / 3600,
        "busy": engine.busy_s / (workers * end_s),
        "lost": engine.lost_s / engine.busy_s,
        "units": len(engine.ends_s),
        "driver_ms_a_unit": 1000 * driver_s / len(engine.ends_s),
        "driver_wall_ms_a_unit": 1000 * wall_s / len(engine.ends_s),
    }


def main() -> None:
    """Print a table of runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1000)
    options = parser.parse_args()
    cases = [
        ("in the manifest's order", 0, 0.0, False),
        ("heaviest first", 0, 0.0, True),
        ("heaviest first, a death in 100 h", 0, 0.01, True),
        ("cut at 60 min, a death in 100 h", 60, 0.01, True),
        ("cut at 20 min, a death in 100 h", 20, 0.01, True),
    ]
    for name, cut_minutes, deaths, heaviest_first in cases:
        got = simulate(options.videos, options.workers, cut_minutes, deaths, heaviest_first)
        figures = "  ".join(f"{key} {value:.3f}".rstrip("0").rstrip(".") for key, value in got.items())
        print(f"{name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
