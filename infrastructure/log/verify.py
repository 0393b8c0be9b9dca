"""`taskmaster verify`: is every event of the log still what was appended, in its place?

Every event is read in the order of positions, with the hash of the event before it in its stream, and its hash is computed
again from the row. Positions must be 1, 2, 3, …, versions must follow one another in each stream from 0 or 1, and both
are bound into the hash. So a row that was changed, deleted, inserted, copied, swapped or renumbered is found, and the first
event that is named is the lowest position where the log is not what it was. Memory is bounded by a page of rows. What is
derived from the events is compared beside that: see `verify_derived`.

What cannot be found, because nothing in the database has a secret:

- that the log's newest events were removed: what is left is a log that was right once. (A stream's newest event is found
  missing, by its position, as long as any later event of the log is left.)
- that somebody also recomputed the hashes of the changed event and of all later ones of its stream, since a hash covers its
  stream's past and its own place in the log, but no other stream; or, to take an event out or put one in, of every event
  behind it. If only the changed event's own hash was recomputed, the next event of its stream is named, if there is one.
- that events were appended by way of `append_events` by somebody who was not entitled to it;
- that the epoch in the table `log` was raised, which is what a restore does: it is told beside the epoch of the newest event;
- changes of idempotency records and of accounts, which are no part of the history. Read models: see `verify_read_models`.

Against these only a copy of hashes outside the database helps. Where it is the table `log` that does not fit and not the
events, that is said.
"""

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.hash_chain import COLUMNS, GENESIS, SALT_BYTES, ChainedRow, chain_hash, commitment_to
from infrastructure.log.rows import HEAD
from infrastructure.log.verify_derived import BadDerivation, DerivedTables
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import ConfigurationError

PAGE: Final = 2_000

Problem = Literal[
    "changed",
    "position_missing",
    "position_repeated",
    "position_out_of_range",
    "version_out_of_place",
    "unreadable",
    "identity_missing",
    "identity_changed",
    "epoch_lowered",
    "epoch_out_of_order",
]
OF_THE_IDENTITY: Final = ("identity_missing", "identity_changed", "epoch_lowered")
"""Problems of the table `log`: the events may all be as they were appended."""
_OTHERS_TRIED: Final = 100
_WIDTH: Final = len(ChainedRow._fields)

# Whole ranges of positions, so that no repeated position can fall between two pages. Of several events with the version before,
# which only a dropped constraint allows, the first is the one to follow: it was checked before.
_EVENTS: Final = (
    f"SELECT {', '.join('e.' + name.strip() for name in COLUMNS.split(','))}, p.hash, p.notification_id "
    "FROM events e LEFT JOIN LATERAL (SELECT hash, notification_id FROM events WHERE originator_id = e.originator_id "
    "AND originator_version = e.originator_version - 1 ORDER BY notification_id LIMIT 1) p ON true "
    "WHERE e.notification_id > %s AND e.notification_id <= %s ORDER BY e.notification_id LIMIT %s"
).encode()
_OUT_OF_RANGE: Final = (
    b"SELECT notification_id, originator_id, originator_version FROM events "
    b"WHERE notification_id < 1 OR notification_id IS NULL ORDER BY notification_id LIMIT 1"
)


class BadEvent(msgspec.Struct, frozen=True):
    """The lowest position at which the log is not what was appended; stream and version as the row there says, if any."""

    position: int
    stream_id: UUID | None
    version: int | None
    problem: Problem
    reason: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `events` and `streams` were checked, up to `head`, the newest position when it began.

    The payloads of `erased` of them are gone, with everything that their hashes cover still in place.
    `epoch` is the log's, `event_epoch` that of the newest checked event: after a restore they differ until something is
    appended.
    """

    log: str
    epoch: int
    event_epoch: int
    head: int
    events: int
    streams: int
    erased: int
    seconds: float
    first_bad: BadEvent | None
    derived_bad: BadDerivation | None
    tags_not_compared: str

    @property
    def is_clean(self) -> bool:
        """Whether nothing is amiss."""
        return self.first_bad is None and self.derived_bad is None

    @property
    def events_per_second(self) -> float:
        """How fast it went."""
        return self.events / self.seconds if self.seconds else 0.0


class _Found(Exception):
    def __init__(self, bad: BadEvent) -> None:
        super().__init__(bad.reason)
        self.bad = bad


Progress = Callable[[int, int], None]
"""Told how many events of how many were checked."""


def verify_log(database_url: str, log_name: str, on_progress: Progress | None = None) -> Verification:
    """Check every event of the log up to its present head, and the tags and numbers beside them; stops at the first bad event.

    The log may grow meanwhile: all is read on one snapshot.

    Raises ConfigurationError where there is no such log, psycopg.OperationalError where the server is away.
    """
    started = time.monotonic()
    with connect_sync(database_url, log_schema(log_name), "taskmaster verify") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            _hold_tags(connection, log_name)
            check = _Check(connection)
            first_bad = None
            try:
                check.run(on_progress)
            except _Found as found:
                first_bad = found.bad
        return Verification(
            log=log_name,
            epoch=check.newest_epoch,
            event_epoch=check.epoch,
            head=check.head,
            events=check.events,
            streams=check.streams,
            erased=check.erased,
            seconds=time.monotonic() - started,
            first_bad=first_bad,
            derived_bad=check.derived.bad,
            tags_not_compared=check.derived.not_compared,
        )


def _hold_tags(connection: psycopg.Connection[Any], log_name: str) -> None:
    """Until the end nobody puts others in the place of the tags. The snapshot is not taken before the next statement."""
    try:
        connection.execute("LOCK TABLE event_tags IN ACCESS SHARE MODE")
    except psycopg.errors.UndefinedTable:
        raise ConfigurationError(f"TASKMASTER_LOG: there is no log {log_name!r} in this database") from None


class _Check:
    """One pass over one log; raises _Found at the first bad event."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        identity = connection.execute("SELECT log_id, epoch FROM log").fetchone()
        self._log_id: UUID | None = identity[0] if identity else None
        self.newest_epoch: int = identity[1] if identity else 0
        self.epoch = 1
        self.derived = DerivedTables(connection)
        row = connection.execute(HEAD).fetchone()
        self.head: int = row[0] if row else 0
        self.events = 0
        self.streams = 0
        self.erased = 0

    def run(self, on_progress: Progress | None) -> None:
        if self._log_id is None:
            reason = "the table 'log' is empty: without the log's id and epoch no event can be checked"
            raise _Found(BadEvent(1, None, None, "identity_missing", reason))
        after = 0
        while after < self.head:
            until = min(after + PAGE, self.head)
            self._check_page(after, until)
            after = until
            if on_progress:
                on_progress(after, self.head)
        # Last, because whatever is amiss at a position from 1 on is lower down in the log.
        outside = self._connection.execute(_OUT_OF_RANGE).fetchone()
        if outside is not None:
            position, stream_id, version = outside
            reason = f"an event has the position {position}; positions begin at 1"
            raise _Found(BadEvent(max(self.head, 0) + 1, stream_id, version, "position_out_of_range", reason))
        self.derived.finish()

    def _check_page(self, after: int, until: int) -> None:
        expected = after + 1
        for row in self._rows(after, until):
            position = row[0]
            if position > expected:
                raise _Found(_missing(expected))
            if position < expected:
                reason = f"more than one event has the position {position}"
                raise _Found(BadEvent(position, row[1], row[2], "position_repeated", reason))
            self._check_row(ChainedRow(*row[:_WIDTH]), *row[_WIDTH:])
            self.events += 1
            expected += 1
        if expected <= until:
            raise _Found(_missing(expected))

    def _rows(self, after: int, until: int) -> Iterator[tuple[Any, ...]]:
        cursor = self._connection.cursor(binary=True)
        try:
            # One row too many shows that a position is repeated; a million of them need not be read for that.
            rows = cursor.execute(_EVENTS, (after, until, until - after + 1), prepare=True).fetchall()
        except psycopg.DataError as error:
            # A value that no event ever had, such as a time of 'infinity'. Narrowed down to its row.
            if until - after == 1:
                reason = f"the event at position {until} cannot be read: {error}"
                raise _Found(BadEvent(until, None, None, "unreadable", reason)) from None
            middle = (after + until) // 2
            yield from self._rows(after, middle)
            yield from self._rows(middle, until)
        else:
            yield from rows

    def _check_row(self, row: ChainedRow, previous: bytes | None, previous_position: int | None) -> None:
        if previous_position is None:
            if row.version not in (0, 1):
                reason = f"it has the version {row.version}, but its stream has no version {row.version - 1}"
                raise _Found(_bad(row, "version_out_of_place", reason))
            self.streams += 1
        elif previous_position > row.position:
            reason = f"it has the version {row.version}, but version {row.version - 1} stands later in the log"
            raise _Found(_bad(row, "version_out_of_place", reason))
        if not self._hash_fits(row, previous or GENESIS):
            raise _Found(self._misfit(row))
        self._require_payload(row)
        self._require_epoch(row)
        self.derived.check(row)

    def _require_payload(self, row: ChainedRow) -> None:
        if row.state is None and row.salt is None:
            self.erased += 1
        elif row.state is None or row.salt is None:
            left = "salt" if row.state is None else "state"
            raise _Found(_bad(row, "changed", f"only its {left} is there: a payload is erased together with its salt"))
        elif len(row.salt) != SALT_BYTES or commitment_to(row.salt, row.state) != row.commitment:
            raise _Found(_bad(row, "changed", _NOT_COMMITTED_TO))

    def _hash_fits(self, row: ChainedRow, previous: bytes) -> bool:
        try:
            return self._log_id is not None and chain_hash(self._log_id, row, previous) == row.hash
        except (TypeError, AttributeError, struct.error):
            # A column is NULL that never was.
            return False

    def _require_epoch(self, row: ChainedRow) -> None:
        if row.epoch < self.epoch:
            reason = f"it was appended in epoch {row.epoch}, after events of epoch {self.epoch}: to a log that was left behind"
            raise _Found(_bad(row, "epoch_out_of_order", reason))
        if row.epoch > self.newest_epoch:
            reason = f"it was appended in epoch {row.epoch}, but the table 'log' says that this is epoch {self.newest_epoch}"
            raise _Found(_bad(row, "epoch_lowered", reason))
        self.epoch = row.epoch

    def _misfit(self, row: ChainedRow) -> BadEvent:
        """Whether it is the event that does not fit, or the log's identity."""
        if self.events == 0 and self._fits_no_other(row.position):
            reason = "no event fits the log's id in the table 'log': the identity was changed, or it is another log's"
            return _bad(row, "identity_changed", reason)
        return _bad(row, "changed", _CHANGED)

    def _fits_no_other(self, position: int) -> bool:
        """Whether there are later events, and none of the next ones fits either, each after what its stream holds before it."""
        rows = list(self._rows(position, min(position + _OTHERS_TRIED, self.head)))
        return bool(rows) and not any(self._hash_fits(ChainedRow(*row[:_WIDTH]), row[_WIDTH] or GENESIS) for row in rows)


_NOT_COMMITTED_TO: Final = "its stored bytes or its salt were changed: they do not fit the commitment in its hash"
_CHANGED: Final = (
    "its hash does not fit: its envelope, its place, its commitment, its hash or its link to the event before it in its "
    "stream was changed"
)


def _missing(position: int) -> BadEvent:
    reason = f"there is no event at position {position}, but there are later ones"
    return BadEvent(position, None, None, "position_missing", reason)


def _bad(row: ChainedRow, problem: Problem, reason: str) -> BadEvent:
    return BadEvent(row.position, row.stream_id, row.version, problem, reason)
