"""The ledger of a corpus: what is to be done, what is being done, what is done, and what is not and why.

One SQLite file in the run's folder, written by one process: whoever holds it open holds the folder. The lock
is SQLite's own and ends with the process, however that ends; every change is one transaction, on the disk
before the next step. So a SIGKILL at any moment leaves a ledger that is true.

    pending --claim--> running --finish--> done | failed | cut into parts (then pending again, to be joined)
       ^------ crashed, or the driver died -----'
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from seqdet.errors import InputError, OutputError, UsageError
from seqdet.runs.corpus_manifest import Entry
from seqdet.runs.corpus_values import WHOLE, Fingerprint, Outcome, Part, Unit

NAME = "ledger.sqlite"
_JOIN_FIRST = 1 << 62  # parts that wait to be joined hold disk space
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS units (
    id INTEGER PRIMARY KEY, line INTEGER NOT NULL, source TEXT NOT NULL, shown TEXT NOT NULL,
    number INTEGER NOT NULL, state TEXT NOT NULL, weight INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
    lease_until_s REAL NOT NULL DEFAULT 0, may_cut INTEGER NOT NULL DEFAULT 1,
    warm INTEGER, first INTEGER, last INTEGER,
    seen TEXT, reason TEXT NOT NULL DEFAULT '', outcome TEXT, UNIQUE (source, number));
CREATE INDEX IF NOT EXISTS pending ON units (weight DESC, id) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS running ON units (lease_until_s) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS refused (
    line INTEGER NOT NULL, shown TEXT NOT NULL, reason TEXT NOT NULL, duplicate INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One unit as it stands.

    Attributes:
        unit_id: its key.
        line: of the manifest.
        source: an absolute path or a URL.
        shown: as the manifest has it.
        state: "pending", "running", "cut", "done" or "failed".
        attempts: how often it was begun.
        reason: why it failed.
        seen: the source's file when it was last looked at.
        outcome: of a unit that is done.
    """

    unit_id: int
    line: int
    source: str
    shown: str
    state: str
    attempts: int
    reason: str
    seen: Fingerprint | None
    outcome: Outcome | None


class Ledger:
    """An open ledger; a context manager that gives the folder free again.

    Args:
        folder: of the run; exists.

    Raises:
        UsageError: another process works in this folder, or it cannot be written to.
        InputError: the file is no ledger, or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._database = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with self._told():
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *unused: object) -> None:
        self._database.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise UsageError(
                    f"{self.path.parent}: another run works in this folder; wait for its end, "
                    "or choose another --out-dir"
                ) from error
            if "unable to open" in str(error) or "readonly" in str(error):
                raise UsageError(f"{self.path.parent}: this folder cannot be written to") from error
            raise OutputError(f"{self.path}: cannot be written ({error}); what it holds is kept") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path}: no ledger of seqdet, or damaged ({error}); choose another --out-dir"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._told():
            cursor = self._database.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                self._database.rollback()
                raise
            cursor.execute("COMMIT")

    def settings(self) -> dict[str, str]:
        """What the run was begun with; {} in a new folder."""
        with self._told():
            return dict(self._database.execute("SELECT key, value FROM run"))

    def begin(self, settings: dict[str, str], entries: Iterable[Entry]) -> None:
        """Note the settings and take in the entries of a manifest: all of them, or nothing.

        Entries that are there already keep their state; what was refused before is forgotten.
        """
        with self._transaction() as at:
            at.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", settings.items())
            at.execute("DELETE FROM refused")
            at.execute("CREATE TEMP TABLE taken (source TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
            for entry in entries:
                reason = entry.refused
                if not reason:
                    try:
                        at.execute("INSERT INTO taken VALUES (?, ?)", (entry.source, entry.line))
                    except sqlite3.IntegrityError:
                        query = "SELECT line FROM taken WHERE source = ?"
                        (before,) = at.execute(query, (entry.source,)).fetchone()
                        reason = f"the same as line {before}"
                if reason:
                    row = (entry.line, entry.shown, reason, not entry.refused)
                    at.execute("INSERT INTO refused VALUES (?, ?, ?, ?)", row)
                    continue
                at.execute(
                    "INSERT INTO units (line, source, shown, number, state) VALUES (?, ?, ?, ?, 'pending') "
                    "ON CONFLICT DO UPDATE SET line = excluded.line",
                    (entry.line, entry.source, entry.shown, WHOLE),
                )
            at.execute("DROP TABLE taken")

    def recover(self) -> int:
        """Make what a dead driver left running pending again; how many units that were."""
        with self._transaction() as at:
            return at.execute("UPDATE units SET state = 'pending' WHERE state = 'running'").rowcount

    def claim(self, until_s: float) -> Unit | None:
        """Take the heaviest pending unit, with a lease that ends at ``until_s``; None: there is none."""
        with self._transaction() as at:
            row = at.execute(
                "SELECT id, source, shown, number, warm, first, last, attempts, may_cut FROM units "
                "WHERE state = 'pending' ORDER BY weight DESC, id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            unit_id, source, shown, number, warm, first, last, attempts, may_cut = row
            at.execute(
                "UPDATE units SET state = 'running', attempts = attempts + 1, lease_until_s = ? WHERE id = ?",
                (until_s, unit_id),
            )
            parts: list[tuple[int, int, int]] = []
            if number == WHOLE:
                query = "SELECT warm, first, last FROM units WHERE source = ? AND number >= 0 ORDER BY number"
                parts = at.execute(query, (source,)).fetchall()
        return Unit(
            unit_id,
            source,
            shown,
            number,
            Part(warm, first, last) if number != WHOLE else None,
            tuple(Part(*part) for part in parts),
            attempts + 1,
            bool(may_cut),
        )

    def renew(self, unit_ids: Iterable[int], until_s: float) -> None:
        """Extend the leases of units that show life."""
        with self._transaction() as at:
            at.executemany(
                "UPDATE units SET lease_until_s = ? WHERE id = ? AND state = 'running'",
                [(until_s, unit_id) for unit_id in unit_ids],
            )

    def expired(self, now_s: float) -> list[int]:
        """Running units whose lease is over."""
        with self._told():
            query = "SELECT id FROM units WHERE state = 'running' AND lease_until_s < ?"
            return [unit_id for (unit_id,) in self._database.execute(query, (now_s,))]

    def finish(self, unit_id: int, outcome: Outcome) -> bool:
        """Note what a worker made of a unit; True when a whole video is done or failed by it."""
        with self._transaction() as at:
            query = "SELECT source, number, weight FROM units WHERE id = ?"
            row = at.execute(query, (unit_id,)).fetchone()
            if row is None:  # a part, and its video was given up meanwhile
                return False
            source, number, weight = row
            if not outcome.exact:
                _drop_parts(at, source)
                _set(at, source, WHOLE, state="pending", may_cut=0)
                return False
            if outcome.failed:
                _drop_parts(at, source)
                _set(at, source, WHOLE, state="failed", reason=outcome.failed, outcome=_packed(outcome))
                return True
            if outcome.parts:
                self._cut(at, unit_id, outcome.parts, weight)
                return False
            _set(at, source, number, state="done", reason="", outcome=_packed(outcome))
            if number == WHOLE:
                _drop_parts(at, source)
                return True
            query = "SELECT count(*) FROM units WHERE source = ? AND number >= 0 AND state <> 'done'"
            if at.execute(query, (source,)).fetchone()[0] == 0:
                _set(at, source, WHOLE, state="pending", weight=_JOIN_FIRST)
        return False

    def _cut(self, at: sqlite3.Cursor, unit_id: int, parts: tuple[Part, ...], weight: int) -> None:
        frames = max(parts[-1].last, 1)
        for number, part in zip(count(), parts):
            at.execute(
                "INSERT INTO units (line, source, shown, number, state, weight, warm, first, last) "
                "SELECT line, source, shown, ?, 'pending', ?, ?, ?, ? FROM units WHERE id = ?",
                (
                    number,
                    weight * (part.last - part.warm) // frames,
                    part.warm,
                    part.first,
                    part.last,
                    unit_id,
                ),
            )
        at.execute("UPDATE units SET state = 'cut' WHERE id = ?", (unit_id,))

    def crashed(self, unit_id: int, reason: str, allowed: int) -> bool:
        """Note that a worker died over a unit; after ``allowed`` times its video is given up: True."""
        with self._transaction() as at:
            query = "SELECT source, crashes FROM units WHERE id = ?"
            row = at.execute(query, (unit_id,)).fetchone()
            if row is None:
                return False
            source, crashes = row
            at.execute(
                "UPDATE units SET state = 'pending', crashes = crashes + 1, reason = ? WHERE id = ?",
                (reason, unit_id),
            )
            if crashes + 1 < allowed:
                return False
            _drop_parts(at, source)
            text = f"given up: {crashes + 1} workers died over it, the last one so: {reason}"
            _set(at, source, WHOLE, state="failed", reason=text)
        return True

    def look(self, looked: Iterable[tuple[int, str, Fingerprint | None, str]]) -> None:
        """Note what is seen of sources before any work: unit, new state, file, reason of a failure."""
        with self._transaction() as at:
            at.executemany(
                "UPDATE units SET state = ?, seen = ?, weight = CASE WHEN weight < ? THEN ? ELSE weight END, "
                "reason = ?, crashes = 0, "
                "outcome = CASE WHEN ? = 'done' THEN outcome ELSE NULL END WHERE id = ?",
                [
                    (state, _packed(seen), _JOIN_FIRST, seen.size if seen else 0, reason, state, unit_id)
                    for unit_id, state, seen, reason in looked
                ],
            )

    def records(self, *states: str, at_once: int = 1000) -> Iterator[Record]:
        """Whole videos, in the order of the manifest's first reading; the ledger may change meanwhile."""
        last = 0
        chosen = f"AND state IN ({', '.join('?' * len(states))})" if states else ""
        query = (
            "SELECT id, line, source, shown, state, attempts, reason, seen, outcome FROM units "
            f"WHERE id > ? AND number = ? {chosen} ORDER BY id LIMIT ?"
        )
        while True:
            with self._told():
                rows = self._database.execute(query, (last, WHOLE, *states, at_once)).fetchall()
            for row in rows:
                unit_id, line, source, shown, state, attempts, reason, seen, outcome = row
                yield Record(
                    unit_id,
                    line,
                    source,
                    shown,
                    state,
                    attempts,
                    reason,
                    _fingerprint(seen),
                    _outcome(outcome),
                )
            if not rows:
                return
            last = rows[-1][0]

    def refused(self) -> Iterator[tuple[int, str, str, bool]]:
        """Line, text, reason, and whether it is a duplicate, of each entry that was not taken."""
        with self._told():
            yield from self._database.execute(
                "SELECT line, shown, reason, duplicate FROM refused ORDER BY line"
            )

    def counts(self) -> dict[str, int]:
        """Videos by state, and "refused" and "duplicate" entries."""
        with self._told():
            found = dict.fromkeys(("pending", "running", "cut", "done", "failed"), 0)
            query = "SELECT state, count(*) FROM units WHERE number = ? GROUP BY state"
            found |= dict(self._database.execute(query, (WHOLE,)))
            query = "SELECT count(*), coalesce(sum(duplicate), 0) FROM refused"
            entries, duplicates = self._database.execute(query).fetchone()
        return found | {"refused": entries - duplicates, "duplicate": duplicates}

    def waiting(self) -> int:
        """Units that are pending or running."""
        with self._told():
            query = "SELECT count(*) FROM units WHERE state = 'pending' OR state = 'running'"
            return int(self._database.execute(query).fetchone()[0])


def _set(at: sqlite3.Cursor, source: str, number: int, **values: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in values)
    at.execute(
        f"UPDATE units SET {names} WHERE source = ? AND number = ?", (*values.values(), source, number)
    )


def _drop_parts(at: sqlite3.Cursor, source: str) -> None:
    at.execute("DELETE FROM units WHERE source = ? AND number >= 0", (source,))


def _packed(value: Outcome | Fingerprint | None) -> str | None:
    return None if value is None else json.dumps(dataclasses.asdict(value))


def _fingerprint(text: str | None) -> Fingerprint | None:
    return None if text is None else Fingerprint(**json.loads(text))


def _outcome(text: str | None) -> Outcome | None:
    if text is None:
        return None
    values = json.loads(text)
    values["source"] = Fingerprint(**values["source"]) if values["source"] else None
    values["outputs"] = {name: Fingerprint(**one) for name, one in values["outputs"].items()}
    values["parts"] = tuple(Part(**part) for part in values["parts"])
    return Outcome(**values)
