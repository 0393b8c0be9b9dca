"""Events that a projection has set aside: listing them, and applying them after the fix.

Of a parked stream everything up to the checkpoint is parked, because the later events follow the first one. So a
stream is replayed as a whole: its parked events are applied in order and their rows removed in one transaction, under the
checkpoint's lock, which keeps the projector from parking another one meanwhile. Each is applied exactly once.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.codec import owner
from infrastructure.log.rows import OF_STREAM, own_events
from infrastructure.read_models.checkpoint_rows import read_checkpoints
from infrastructure.read_models.table_store import TableProjection, is_server_trouble
from projections import ALL, DOCUMENTS
from projections.engine.changes import History, changes_of

_NEWEST = 2**62


class ParkedEvent(msgspec.Struct, frozen=True):
    """One event that one projection has set aside, and why."""

    projection: str
    position: int
    stream_id: UUID
    version: int
    error: str
    parked_at: datetime


class StillFailing(Exception):
    """Applying a parked stream raised again; it stays parked."""


def parked_events(connection: psycopg.Connection[Any]) -> list[ParkedEvent]:
    """Everything that is parked, by projection and position."""
    rows = connection.execute(
        "SELECT projection, position, stream_id, version, error, parked_at FROM parked WHERE projection = ANY(%s) "
        "ORDER BY projection, position",
        (list(ALL),),
    )
    return [ParkedEvent(*row) for row in rows.fetchall()]


def replay_stream(connection: psycopg.Connection[Any], projection: TableProjection, stream_id: UUID) -> int:
    """Apply a stream's parked events to a Postgres read model; returns how many. All or nothing.

    Raises StillFailing, or psycopg's own errors where the server is away.
    """
    with connection.transaction():
        read_checkpoints(connection, [projection.name], lock=True)
        rows = connection.execute(
            "DELETE FROM parked WHERE projection = %s AND stream_id = %s RETURNING position", (projection.name, stream_id)
        )
        positions = {row[0] for row in rows.fetchall()}
        changes = [change for change in _history(connection, stream_id) if change.record.position in positions]
        if not changes:
            return 0
        try:
            projection.apply(connection, changes)
        except Exception as error:
            if isinstance(error, psycopg.Error) and is_server_trouble(error):
                raise
            raise StillFailing(f"{error!r}") from error
        # Tells projectors that remember the stream as parked to look again.
        connection.execute("UPDATE checkpoints SET replays = replays + 1 WHERE projection = %s", (projection.name,))
    return len(changes)


def _history(connection: psycopg.Connection[Any], stream_id: UUID) -> History:
    cursor = connection.cursor(binary=True)
    cursor.execute(OF_STREAM, (stream_id, 0, _NEWEST))
    return changes_of(own_events(cursor), lambda event: DOCUMENTS.get(owner(event).name))
