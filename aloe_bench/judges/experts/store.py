"""The ratings on disk: one SQLite file beside the run, safe to kill at any instant.

Ratings are an append-only log; undoing marks an entry. What counts is a rater's last entry on an item.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aloe_bench.errors import DataError, RunMismatchError
from aloe_bench.judges.experts.assign import PerItem, assign
from aloe_bench.judges.experts.item import LABELS, RatedItem

SCHEMA = 1
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (id TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE raters (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, token TEXT UNIQUE NOT NULL);
CREATE TABLE assignments (
  rater INTEGER NOT NULL REFERENCES raters, item TEXT NOT NULL REFERENCES items,
  position INTEGER NOT NULL, required INTEGER NOT NULL,
  PRIMARY KEY (rater, item), UNIQUE (rater, position)
);
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, rater INTEGER NOT NULL, item TEXT NOT NULL,
  label TEXT NOT NULL CHECK (label IN {labels}), comment TEXT NOT NULL, at TEXT NOT NULL,
  undone INTEGER NOT NULL DEFAULT 0,
  FOREIGN KEY (rater, item) REFERENCES assignments
);
CREATE INDEX events_by_item ON events (rater, item, undone);
CREATE VIEW ratings AS
  SELECT rater, item, label, comment, id FROM events
  WHERE id IN (SELECT max(id) FROM events WHERE undone = 0 GROUP BY rater, item);
PRAGMA user_version = {schema};
"""


@dataclass(frozen=True, slots=True)
class Rater:
    """An expert; whoever knows the token is that expert."""

    id: int
    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater now says about one item."""

    item: str
    rater: str
    label: str
    comment: str


@dataclass(frozen=True, slots=True)
class ListLine:
    """One line of a rater's list; `event` is the rating's number in the log, None if there is none."""

    position: int
    item: str
    required: bool
    label: str | None
    comment: str
    event: int | None


class Store:
    """The ratings of one run. Every method is one transaction and may be called from any thread."""

    def __init__(self, path: Path, *, create: bool = True, labels: Sequence[str] = LABELS) -> None:
        """Open `path`, which takes `labels`; raises DataError if it is absent (and not to be created) or foreign."""
        self.path, self._labels = path, labels
        self._lock = threading.Lock()
        if not create and not path.exists():
            raise DataError(f"{path}: no ratings yet; serve the page first: the same command without an export.")
        try:
            # The links are in it: nobody else may read it. SQLite gives its side files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"{path}: cannot be opened ({error}); expected a file that can be written.") from error
        try:
            self._prepare()
        except (DataError, sqlite3.Error) as error:
            self._db.close()
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{path}: cannot be used as a ratings file ({error}). Move it away, or restore a copy."
            ) from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        version = self._version()
        if version == 0:
            self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if version == 0:
            with self._transaction():
                if self._version() == 0:  # another process may have been first
                    tables = _TABLES.format(labels=tuple(self._labels), schema=SCHEMA)
                    for statement in filter(str.strip, tables.split(";\n")):
                        self._db.execute(statement)
        elif version != SCHEMA:
            raise DataError(f"{self.path}: schema {version}, expected {SCHEMA}; update aloe-bench.")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file; what was rated is in it."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.rollback()
                raise
            self._db.commit()

    def set_up(
        self, study: Mapping[str, str], items: Sequence[RatedItem], raters: Sequence[str], per_item: PerItem, seed: int
    ) -> None:
        """Enter new items and raters and give them out; what is already given out stays.

        `study` names the run. Raises RunMismatchError if the file belongs to another run, or if a rated
        item now shows something else; DataError if a rater would get nothing.
        """
        with self._transaction() as db:
            self._check_study(db, study)
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", study.items())
            self._enter_items(db, items)
            known = {name for (name,) in db.execute("SELECT name FROM raters")}
            for name in dict.fromkeys(raters):
                if name not in known:
                    token = secrets.token_urlsafe(24)
                    db.execute("INSERT INTO raters (name, token) VALUES (?, ?)", (name, token))
            self._give_out(db, [item.id for item in items], per_item, seed)
            design = {"per_item": f"{per_item.least}-{per_item.most}", "seed": str(seed)}
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", design.items())

    def design(self) -> dict[str, str]:
        """Return "per_item" and "seed" of the last set-up; empty before the first."""
        with self._transaction() as db:
            return dict(db.execute("SELECT key, value FROM meta WHERE key IN ('per_item', 'seed')"))

    def refuse_other(self, study: Mapping[str, str]) -> None:
        """Raise RunMismatchError if the file belongs to another run than `study` names."""
        with self._transaction() as db:
            self._check_study(db, study)

    def _check_study(self, db: sqlite3.Connection, study: Mapping[str, str]) -> None:
        stored = dict(db.execute("SELECT key, value FROM meta"))
        for key, value in study.items():
            if stored.get(key, value) != value:
                raise RunMismatchError(
                    f"{self.path}: ratings of {key} {stored[key]}, but this is {value}. "
                    "Move the file away to begin a new study."
                )

    def _enter_items(self, db: sqlite3.Connection, items: Sequence[RatedItem]) -> None:
        known = dict(db.execute("SELECT id, digest FROM items"))
        rated = {item for (item,) in db.execute("SELECT DISTINCT item FROM ratings")}
        changed = [item.id for item in items if item.id in rated and known[item.id] != item.digest()]
        if changed:
            raise RunMismatchError(
                f"{self.path}: {len(changed)} rated items now show something else, the first is {changed[0]}. "
                "Restore the run's records, or move the file away to begin a new study."
            )
        db.executemany(
            "INSERT INTO items VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET digest = excluded.digest",
            [(item.id, item.digest()) for item in items],
        )

    def _give_out(self, db: sqlite3.Connection, items: Sequence[str], per_item: PerItem, seed: int) -> None:
        ids = {name: id_ for id_, name in db.execute("SELECT id, name FROM raters")}
        existing: dict[str, list[str]] = {}
        for item, name in db.execute("SELECT a.item, r.name FROM assignments a JOIN raters r ON r.id = a.rater"):
            existing.setdefault(item, []).append(name)
        for name, given in assign(items, sorted(ids), per_item, seed, existing).items():
            (last,) = db.execute("SELECT max(position) FROM assignments WHERE rater = ?", (ids[name],)).fetchone()
            if last is None and not given:
                raise DataError(
                    f"{self.path}: nothing is left for rater {name!r}, every item has its {per_item.most} raters. "
                    f"Give --per-item {per_item.most + 1}."
                )
            rows = [(ids[name], one.item, place, one.required) for place, one in enumerate(given, (last or 0) + 1)]
            db.executemany("INSERT INTO assignments VALUES (?, ?, ?, ?)", rows)

    def raters(self) -> list[Rater]:
        """Return the raters, in the order they were entered."""
        with self._transaction() as db:
            return [Rater(*row) for row in db.execute("SELECT id, name, token FROM raters ORDER BY id")]

    def rater(self, token: str) -> Rater | None:
        """Return the rater whose link holds `token`, None if nobody's does."""
        found = None
        for rater in self.raters():
            if hmac.compare_digest(rater.token.encode(), token.encode(errors="replace")):
                found = rater
        return found

    def places(self, rater: Rater) -> list[ListLine]:
        """Return the rater's whole list, in order, with what was said so far."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT a.position, a.item, a.required, r.label, coalesce(r.comment, ''), r.id "
                "FROM assignments a LEFT JOIN ratings r ON r.rater = a.rater AND r.item = a.item "
                "WHERE a.rater = ? ORDER BY a.position",
                (rater.id,),
            )
            return [ListLine(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def rate(self, rater: Rater, item: str, label: str, comment: str) -> None:
        """Record a rating; saying the same again changes nothing. Raises KeyError if it is not theirs to rate."""
        with self._transaction() as db:
            if not db.execute("SELECT 1 FROM assignments WHERE rater = ? AND item = ?", (rater.id, item)).fetchone():
                raise KeyError(item)
            now = db.execute("SELECT label, comment FROM ratings WHERE rater = ? AND item = ?", (rater.id, item))
            if now.fetchone() != (label, comment):
                at = datetime.now(UTC).isoformat(timespec="milliseconds")
                db.execute(
                    "INSERT INTO events (rater, item, label, comment, at) VALUES (?, ?, ?, ?, ?)",
                    (rater.id, item, label, comment, at),
                )

    def undo(self, rater: Rater, event: int) -> str:
        """Take back one entry of the log and return its item; again changes nothing. KeyError if not theirs."""
        with self._transaction() as db:
            row = db.execute("SELECT item FROM events WHERE id = ? AND rater = ?", (event, rater.id)).fetchone()
            if row is None:
                raise KeyError(event)
            db.execute("UPDATE events SET undone = 1 WHERE id = ?", (event,))
            return str(row[0])

    def ratings(self) -> list[Rating]:
        """Return every rating that counts, by item and rater."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT t.item, r.name, t.label, t.comment FROM ratings t JOIN raters r ON r.id = t.rater "
                "ORDER BY t.item, r.name"
            )
            return [Rating(*row) for row in rows]
