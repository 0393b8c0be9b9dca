"""The store of the Postgres read models: one transaction a batch holds the rows and the checkpoints."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import psycopg

from infrastructure.checkpoint_rows import move_checkpoints, note_checkpoint, park_changes, read_checkpoints
from infrastructure.failpoints import failpoint
from infrastructure.log_source import Reconnecting
from projections.changes import Change
from projections.engine import Checkpoint, Moved, ProjectionFailed

# Read models can be rebuilt: their commits need not wait for the disk. A process that stops in the middle of a batch holds the
# checkpoints' locks: after two seconds the server takes them back, and another owner goes on.
_OF_A_BATCH = (
    "SELECT set_config('synchronous_commit', 'off', true), set_config('idle_in_transaction_session_timeout', '2s', true)"
)


class TableProjection(Protocol):
    """A projection into Postgres tables."""

    @property
    def name(self) -> str:
        """The read model's name."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it owns."""

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        """Apply the changes, each exactly once and in order, in the connection's open transaction."""


class TableStore:
    """Store over one schema: the log's own, or that of a rebuild beside it."""

    def __init__(self, connection: Reconnecting, projections: Sequence[TableProjection]) -> None:
        self._connection = connection
        self._projections = {projection.name: projection for projection in projections}

    def checkpoints(self) -> list[Checkpoint]:
        """See `Store.checkpoints`."""
        return read_checkpoints(self._connection.get(), list(self._projections))

    def write(self, expected: Sequence[Checkpoint], changes: Sequence[Change]) -> None:
        """See `Store.write`."""
        connection = self._connection.get()
        try:
            self._write(connection, expected, changes)
        except psycopg.Error as error:
            if connection.broken:
                # Whatever the server's last word was, it says nothing about the events.
                raise psycopg.OperationalError(f"the connection was lost: {error}") from error
            raise

    def _write(self, connection: psycopg.Connection[Any], expected: Sequence[Checkpoint], changes: Sequence[Change]) -> None:
        names = [checkpoint.projection for checkpoint in expected]
        failpoint("tables.before_begin")
        with connection.transaction():
            connection.execute(_OF_A_BATCH, prepare=True)
            _require_place(expected, read_checkpoints(connection, names, lock=True))
            failpoint("tables.before_apply")
            for checkpoint in expected:
                self._apply(connection, checkpoint, changes)
                failpoint("tables.inside")
            move_checkpoints(connection, names, changes[-1])
            failpoint("tables.before_commit")
            failpoint("tables.in_flight")
        failpoint("tables.after_commit")

    def _apply(self, connection: psycopg.Connection[Any], checkpoint: Checkpoint, changes: Sequence[Change]) -> None:
        parked = checkpoint.parked
        wanted = [change for change in changes if change.record.stream_id not in parked] if parked else changes
        if len(wanted) < len(changes):
            later = [change for change in changes if change.record.stream_id in parked]
            park_changes(connection, checkpoint.projection, later, "an earlier event of this stream is parked")
        if not wanted:
            return
        try:
            self._projections[checkpoint.projection].apply(connection, wanted)
        except Exception as error:
            if connection.broken:
                raise psycopg.OperationalError(f"the connection was lost: {error}") from error
            if isinstance(error, psycopg.Error) and is_server_trouble(error):
                raise
            raise ProjectionFailed(checkpoint.projection, error) from error

    def note(self, checkpoint: Checkpoint) -> None:
        """See `Store.note`."""
        note_checkpoint(self._connection.get(), checkpoint)

    def park(self, checkpoint: Checkpoint, change: Change, error: str) -> None:
        """See `Store.park`."""
        connection = self._connection.get()
        with connection.transaction():
            _require_place([checkpoint], read_checkpoints(connection, [checkpoint.projection], lock=True))
            park_changes(connection, checkpoint.projection, [change], error)
            move_checkpoints(connection, [checkpoint.projection], change)


def is_server_trouble(error: psycopg.Error) -> bool:
    """Whether it is the server's state that failed and not the statement: lost connections, conflicts, shutdown, lack of space,
    memory or a lock, a server that became a standby. Exceeded limits of a value (class 54) are the statement's own."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _SERVER_TROUBLE or error.sqlstate == "25006"


_SERVER_TROUBLE: Final = frozenset({"08", "40", "53", "55", "57", "58"})


def _require_place(expected: Sequence[Checkpoint], found: Sequence[Checkpoint]) -> None:
    """Equality, not order: a checkpoint further on means that somebody else applied this batch, one further back that the
    database was restored under us. The generation tells that it was rebuilt, or its parked events replayed, meanwhile."""
    places = {checkpoint.projection: checkpoint for checkpoint in found}
    for checkpoint in expected:
        place = places.get(checkpoint.projection)
        if (
            place is None
            or (place.position, place.identity) != (checkpoint.position, checkpoint.identity)
            or place.generation != checkpoint.generation
        ):
            raise Moved(checkpoint.projection)
