"""An engine of a corpus without processes, for tests."""

from __future__ import annotations

from seqdet.runs.corpus_values import Died, Finished
from seqdet.runs.corpus_worker import Worker


class InProcess:
    """An engine without processes: one unit at a time, and it may die by a list of chances."""

    def __init__(self, job, dies=()):
        self.worker, self.given, self.dies, self.worked = Worker(job), None, list(dies), []

    def free(self):
        return int(self.given is None)

    def give(self, unit):
        self.given = unit

    def wait(self, timeout_s):
        unit, self.given = self.given, None
        self.worked.append(unit.shown)
        if self.dies and self.dies.pop(0):
            return [Died((unit.unit_id,), "killed by SIGKILL")]
        return [Finished(unit.unit_id, self.worker.run(unit, lambda frames: None))]

    def close(self):
        pass
