"""The tags of a log derived anew, after a change of what `tags_of` returns: another scheme, with a number of its own.

They are made beside the old ones while the log goes on being written. What was appended meanwhile is caught up under the
log's lock, where nobody appends, and in that very transaction the new tags take the place of the old ones and their scheme that
of the log: from then on whoever derives by another scheme is refused. However long the log is, nobody waits for more than a
few parts of it: so much is read under the lock at most, a reader of the old tags is waited for without the lock, and the old
tags are dropped afterwards. After a process that was killed anywhere another one goes on where it was.

An erased event has no tags any more: what they would be nobody can tell, and no boundary learns anything from it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import psycopg
from psycopg.errors import LockNotAvailable

from domain import tags
from infrastructure.log.codec import UnknownEventType
from infrastructure.log.rows import HEAD
from infrastructure.log.tags import tags_of_stored
from infrastructure.processes.failpoints import failpoint
from infrastructure.servers.migrate import alone, newer_scheme
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import ConfigurationError

logger = logging.getLogger("taskmaster.log")

EVENTS_A_PART: Final = 2_000
"""In one transaction: a tenth of a second."""
MOST_PARTS_UNDER_LOCK: Final = 8
"""At once. Between two times each process that appends has one call, with some hundred events: so much catches up with a log
that thirty of them keep busy."""
PATIENCE: Final = "100ms"
"""For readers of the old tags, under the lock."""
LONG_READ_SECONDS = 1.0
"""Who has been at the old tags for so long (a verification, a backup) is waited for without the lock."""
PAUSE_SECONDS: Final = 0.5
_ROWS_A_FETCH: Final = 200

_BEGIN: Final = """
CREATE TABLE retagging (scheme integer NOT NULL, position bigint NOT NULL);
CREATE TABLE event_tags_next (
    tag uuid NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tag, position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
"""
_SWITCH: Final = """
ALTER TABLE event_tags RENAME TO event_tags_before;
ALTER INDEX event_tags_pkey RENAME TO event_tags_before_pkey;
ALTER TABLE event_tags_next RENAME TO event_tags;
ALTER INDEX event_tags_next_pkey RENAME TO event_tags_pkey;
UPDATE log SET tag_scheme = (SELECT scheme FROM retagging);
DROP TABLE retagging;
"""
_LEFT_OVER: Final = "DROP TABLE IF EXISTS event_tags_before, event_tags_next, retagging"
_UNTAGGED: Final = (
    "SELECT notification_id, topic, schema_version, state, originator_id, workspace_id FROM events "
    "WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
)
_LONG_READERS: Final = (
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.relation IN (to_regclass('event_tags'), to_regclass('event_tags_next')) AND l.granted "
    "AND a.pid <> pg_backend_pid() AND a.xact_start <= clock_timestamp() - make_interval(secs => %s)"
)

Progress = Callable[[int, int], None]
"""Told up to which position, of which head, the new tags are made."""


class Retagged(msgspec.Struct, frozen=True):
    """The scheme that the log has now, the events whose tags were derived, and the most of them at once under its lock."""

    scheme: int
    events: int
    most_under_lock: int


def retag(database_url: str, log_name: str, on_progress: Progress = lambda *_: None) -> Retagged | None:
    """Give the log's events the tags that this release derives; None where they have them.

    Any number of processes may call this at once. Raises ConfigurationError where a newer release did so before, or where the
    log has events of a newer release.
    """
    with connect_sync(database_url, log_schema(log_name), "taskmaster retagging") as connection, alone(connection):
        # A process that is stopped and not killed loses the lock as well.
        connection.execute("SET client_min_messages = warning; SET idle_in_transaction_session_timeout = '5s'")
        scheme = _one(connection, "SELECT tag_scheme FROM log")
        if scheme > tags.TAG_SCHEME:
            raise ConfigurationError(newer_scheme(log_name, scheme))
        if scheme == tags.TAG_SCHEME:
            connection.execute(_LEFT_OVER)
            return None
        try:
            return _Retagging(connection, on_progress).run()
        except UnknownEventType as unknown:
            raise ConfigurationError(f"the tags of log {log_name!r} cannot be derived: {unknown}") from None


class _Retagging:
    def __init__(self, connection: psycopg.Connection[Any], on_progress: Progress) -> None:
        self._connection = connection
        self._on_progress = on_progress
        self._position = 0
        self._events = 0
        self._most_under_lock = 0
        self._parts = 1

    def run(self) -> Retagged:
        self._begin()
        self._go_on_beside()
        self._connection.execute("VACUUM (ANALYZE) event_tags_next")
        while not self._catch_up_and_switch():
            failpoint("retagging.before_another_try")
        failpoint("retagging.after_switch")
        self._connection.execute(_LEFT_OVER)
        return Retagged(tags.TAG_SCHEME, self._events, self._most_under_lock)

    def _begin(self) -> None:
        """From the start, or from where somebody was killed who made the same."""
        if _one(self._connection, "SELECT to_regclass('retagging') IS NOT NULL"):
            scheme, position = self._connection.execute("SELECT scheme, position FROM retagging").fetchone() or (0, 0)
            if scheme == tags.TAG_SCHEME:
                self._position = position
                return
        with self._connection.transaction():
            self._connection.execute(_LEFT_OVER)
            self._connection.execute(_BEGIN)
            self._connection.execute("INSERT INTO retagging VALUES (%s, 0)", (tags.TAG_SCHEME,))

    def _go_on_beside(self) -> None:
        """Until what is left fits into one part, or the log grows as fast as its tags are made."""
        left = self._left()
        before = left + 1
        while EVENTS_A_PART < left < before:
            with self._connection.transaction():
                self._make(EVENTS_A_PART)
            failpoint("retagging.after_part")
            before, left = left, self._left()

    def _left(self) -> int:
        head: int = _one(self._connection, HEAD)
        self._on_progress(self._position, head)
        return head - self._position

    def _catch_up_and_switch(self) -> bool:
        """Some parts under the log's lock, and the switch if that was all and no reader is in the way."""
        self._let_long_readers_finish()
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('taskmaster ' || current_schema(), 0))")
            events = self._make(EVENTS_A_PART * self._parts)
            self._most_under_lock = max(self._most_under_lock, events)
            if events == EVENTS_A_PART * self._parts:
                self._parts = min(2 * self._parts, MOST_PARTS_UNDER_LOCK)
                return False
            if not self._keeps_readers_out():
                return False
            self._connection.execute(_SWITCH)
            failpoint("retagging.before_switch")
        return True

    def _keeps_readers_out(self) -> bool:
        try:
            with self._connection.transaction():
                self._connection.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                self._connection.execute("LOCK TABLE event_tags, event_tags_next IN ACCESS EXCLUSIVE MODE")
        except LockNotAvailable:
            return False
        return True

    def _let_long_readers_finish(self) -> None:
        told = False
        while _one(self._connection, _LONG_READERS, LONG_READ_SECONDS):
            if not told:
                logger.warning("the tags are being read (by a verification or a backup): waiting for the end of that")
                told = True
            time.sleep(PAUSE_SECONDS)

    def _make(self, most: int) -> int:
        """The tags of the next events, in the open transaction; how many events those were."""
        made: list[tuple[Any, int]] = []
        events = 0
        with self._connection.cursor("untagged", binary=True) as cursor:
            cursor.itersize = _ROWS_A_FETCH
            cursor.execute(_UNTAGGED, (self._position, most))
            for position, topic, schema_version, state, stream_id, workspace_id in cursor:
                events += 1
                self._position = position
                if state is not None:
                    made += [(tag, position) for tag in tags_of_stored(topic, schema_version, state, stream_id, workspace_id)]
        copying = self._connection.cursor().copy("COPY event_tags_next FROM STDIN (FORMAT BINARY)")
        with copying as copy:
            copy.set_types(["uuid", "int8"])
            for row in made:
                copy.write_row(row)
        self._connection.execute("UPDATE retagging SET position = %s", (self._position,))
        self._events += events
        return events


def _one(connection: psycopg.Connection[Any], query: str, *arguments: object) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    assert row is not None  # noqa: S101 - each query has one row
    return row[0]
