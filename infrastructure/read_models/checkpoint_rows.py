"""The table `checkpoints`, where every projection's place in the log stands (for Redis: its generation and fortunes)."""

from collections.abc import Iterable, Sequence, Set
from typing import Any
from uuid import UUID

import psycopg

from projections.engine.changes import Change, Entry, History, LogIdentity
from projections.engine.checkpoint import Checkpoint

_SELECT = (
    "SELECT c.projection, c.log_id, c.epoch, coalesce(c.position, c.noted_at), c.attempts, c.single_until, c.held, "
    "(SELECT array_agg(DISTINCT p.stream_id) FROM parked p WHERE p.projection = c.projection), c.leaf_hash, c.generation, "
    "c.replays "
    "FROM checkpoints c WHERE c.projection = ANY(%s) ORDER BY c.projection"
)


def read_checkpoints(connection: psycopg.Connection[Any], names: Sequence[str], lock: bool = False) -> list[Checkpoint]:
    """The named projections' checkpoints; with `lock`, nobody else can move them until the transaction ends.

    That of a read model which keeps its place elsewhere is as it was noted last.
    """
    cursor = connection.cursor(binary=True)
    query = f"{_SELECT} FOR UPDATE OF c" if lock else _SELECT
    cursor.execute(query.encode(), (list(names),), prepare=True)
    return [
        Checkpoint(
            projection=row[0],
            identity=LogIdentity(row[1], row[2]),
            position=row[3],
            attempts=row[4],
            single_until=row[5],
            held=row[6],
            parked=frozenset(row[7] or ()),
            leaf_hash=row[8],
            generation=row[9],
            replays=row[10],
        )
        for row in cursor.fetchall()
    ]


def move_checkpoints(connection: psycopg.Connection[Any], names: Iterable[str], entry: Entry) -> None:
    """Move the named checkpoints to `entry`."""
    connection.execute(
        "UPDATE checkpoints SET position = %s, leaf_hash = %s, attempts = 0, held = NULL, updated_at = now() "
        "WHERE projection = ANY(%s)",
        (entry.record.position, entry.record.hash, list(names)),
        prepare=True,
    )


def note_checkpoint(connection: psycopg.Connection[Any], checkpoint: Checkpoint) -> None:
    """Store how a projection fares at its position; does nothing if it has moved meanwhile, as far as that stands here."""
    connection.execute(
        "UPDATE checkpoints SET attempts = %s, single_until = %s, held = %s, noted_at = %s, updated_at = now() "
        "WHERE projection = %s AND coalesce(position = %s, true)",
        (
            checkpoint.attempts,
            checkpoint.single_until,
            checkpoint.held,
            checkpoint.position,
            checkpoint.projection,
            checkpoint.position,
        ),
    )


def park_changes(connection: psycopg.Connection[Any], projection: str, changes: Sequence[Change[Any]], error: str) -> None:
    """Set events aside for one projection."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO parked (projection, position, stream_id, version, error) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            [
                (
                    projection,
                    change.record.position,
                    change.record.stream_id,
                    change.record.version,
                    error[:2000],
                )
                for change in changes
            ],
        )


def without_parked(
    connection: psycopg.Connection[Any], projection: str, histories: Iterable[History], parked: Set[UUID]
) -> list[History]:
    """The histories as far as a projection has applied them: of the streams in `parked` what comes before the first event that
    was set aside. Those that begin with it are left out."""
    if not parked:
        return list(histories)
    rows = connection.execute(
        "SELECT stream_id, min(position) FROM parked WHERE projection = %s AND stream_id = ANY(%s) GROUP BY stream_id",
        (projection, list(parked)),
    )
    first = dict(rows.fetchall())
    found = [
        [change for change in history if change.record.position < first[change.record.stream_id]]
        if history[0].record.stream_id in first
        else history
        for history in histories
    ]
    return [history for history in found if history]


def parked_streams(connection: psycopg.Connection[Any], projection: str) -> frozenset[UUID]:
    """The streams of which a projection has set events aside."""
    rows = connection.execute("SELECT DISTINCT stream_id FROM parked WHERE projection = %s", (projection,), prepare=True)
    return frozenset(row[0] for row in rows.fetchall())
