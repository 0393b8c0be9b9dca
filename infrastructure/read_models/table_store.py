"""The store of the Postgres read models: one transaction a batch holds the rows and the checkpoints."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, cast, runtime_checkable

import psycopg

from infrastructure.log.source import Reconnecting
from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.ahead import Ahead, Refused
from infrastructure.read_models.checkpoint_rows import (
    move_checkpoints,
    note_checkpoint,
    park_changes,
    read_checkpoints,
    without_parked,
)
from projections.engine.changes import Change, Entry, History, Redaction, followed, parted
from projections.engine.checkpoint import Checkpoint
from projections.engine.failures import failure_told
from projections.engine.port import Moved, ProjectionFailed, ProjectionHolds

AHEAD_FROM = 50
"""Events in a batch: with fewer, handing a statement to a thread takes longer than it gains."""

# Read models can be rebuilt: their commits need not wait for the disk. A process that stops in the middle of a batch holds the
# checkpoints' locks: after two seconds the server takes them back, and another owner goes on.
_OF_A_BATCH = (
    "SELECT set_config('synchronous_commit', 'off', true), set_config('idle_in_transaction_session_timeout', '2s', true), "
    "set_config('lock_timeout', '5s', true)"
)


class TableProjection(Protocol):
    """A projection into Postgres tables."""

    @property
    def name(self) -> str:
        """The read model's name."""

    @property
    def layout(self) -> int:
        """What it stores and in which form, as a number that every change of that raises."""

    @property
    def ddl(self) -> str:
        """The statements that make its tables, in whatever schema comes first."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it owns."""

    @property
    def follows(self) -> frozenset[str]:
        """The names of the aggregates whose changes it takes; all others pass it by."""

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change[Any]]) -> None:
        """Apply the changes, each exactly once and in order, in the connection's open transaction."""

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[History]) -> None:
        """Make what it holds of some streams what their changes, all that it has applied, say now that payloads were erased: as
        if it had been built from them alone. In the connection's open transaction."""


@runtime_checkable
class NeverParks(Protocol):
    """A projection that is a feed: nothing may be filled in behind its checkpoint later, so it takes in plain form what it
    cannot apply, and holds where even that fails."""

    def apply_plainly(self, connection: psycopg.Connection[Any], change: Change[Any]) -> None:
        """Take the event as no more than what its envelope says."""


class TableStore:
    """Store over one schema: the log's own, or that of a rebuild beside it."""

    def __init__(self, connection: Reconnecting, projections: Sequence[TableProjection]) -> None:
        self._connection = connection
        self._projections = {projection.name: projection for projection in projections}
        self._thread: ThreadPoolExecutor | None = None

    def checkpoints(self) -> list[Checkpoint]:
        """See `Store.checkpoints`."""
        return read_checkpoints(self._connection.get(), list(self._projections))

    def write(self, expected: Sequence[Checkpoint], changes: Sequence[Entry]) -> None:
        """See `Store.write`."""
        connection = self._connection.get()
        try:
            self._write(connection, expected, changes)
        except psycopg.Error as error:
            if connection.broken:
                # Whatever the server's last word was, it says nothing about the events.
                raise psycopg.OperationalError(f"the connection was lost: {error}") from error
            raise

    def _write(self, connection: psycopg.Connection[Any], expected: Sequence[Checkpoint], entries: Sequence[Entry]) -> None:
        # Read before the transaction begins: the server ends one whose client is silent for long.
        parts = [(part, part.histories() if isinstance(part, Redaction) else []) for part in parted(entries)]
        names = [checkpoint.projection for checkpoint in expected]
        failpoint("tables.before_begin")
        with connection.transaction():
            connection.execute(_OF_A_BATCH, prepare=True)
            _require_place(expected, read_checkpoints(connection, names, lock=True))
            failpoint("tables.before_apply")
            if len(entries) >= AHEAD_FROM and len(parts) == 1 and not isinstance(parts[0][0], Redaction):
                self._apply_ahead(connection, expected, parts[0][0])
            else:
                self._apply_parts(connection, expected, parts)
            move_checkpoints(connection, names, entries[-1])
            failpoint("tables.before_commit")
            failpoint("tables.in_flight")
        failpoint("tables.after_commit")

    def _apply_parts(
        self,
        connection: psycopg.Connection[Any],
        expected: Sequence[Checkpoint],
        parts: Iterable[tuple[Redaction | list[Change[Any]], Sequence[History]]],
    ) -> None:
        for checkpoint in expected:
            for part, histories in parts:
                if isinstance(part, Redaction):
                    self._redact(connection, checkpoint, part, histories)
                else:
                    self._apply(connection, checkpoint, part)
            failpoint("tables.inside")

    def _apply_ahead(
        self, connection: psycopg.Connection[Any], expected: Sequence[Checkpoint], changes: list[Change[Any]]
    ) -> None:
        """The server works on one statement while the next is prepared, also for another projection."""
        self._thread = self._thread or ThreadPoolExecutor(1, "statements")
        with Ahead(connection, self._thread) as ahead:
            for checkpoint in expected:
                ahead.whose = checkpoint.projection
                self._apply(ahead, checkpoint, changes)
                failpoint("tables.inside")
        if ahead.refused:
            raise _failed(connection, ahead.refused.whose, ahead.refused.error) from ahead.refused.error

    def _redact(
        self,
        connection: psycopg.Connection[Any],
        checkpoint: Checkpoint,
        redaction: Redaction,
        histories: Sequence[History],
    ) -> None:
        name, follows = checkpoint.projection, self._projections[checkpoint.projection].follows
        own = [history for history in histories if history[0].aggregate in follows]
        applied = without_parked(connection, name, own, checkpoint.parked)
        if not applied:
            return
        try:
            self._projections[name].redact(connection, applied)
        except Exception as error:
            if connection.broken or (isinstance(error, psycopg.Error) and is_server_trouble(error)):
                raise
            raise _unredacted(name, redaction.record.position, failure_told(error)) from error

    def _apply(self, sender: psycopg.Connection[Any] | Ahead, checkpoint: Checkpoint, changes: Sequence[Change[Any]]) -> None:
        connection = cast(psycopg.Connection[Any], sender)
        parked = checkpoint.parked
        changes = followed(changes, self._projections[checkpoint.projection].follows)
        wanted = [change for change in changes if change.record.stream_id not in parked] if parked else changes
        if len(wanted) < len(changes):
            later = [change for change in changes if change.record.stream_id in parked]
            park_changes(connection, checkpoint.projection, later, "an earlier event of this stream is parked")
        if not wanted:
            return
        try:
            self._projections[checkpoint.projection].apply(connection, wanted)
        except Exception as error:
            refused = sender.refused if isinstance(sender, Ahead) else None
            first = refused or Refused(checkpoint.projection, error)
            raise _failed(connection, first.whose, first.error) from error

    def note(self, checkpoint: Checkpoint) -> None:
        """See `Store.note`."""
        note_checkpoint(self._connection.get(), checkpoint)

    def park(self, checkpoint: Checkpoint, entry: Entry, error: str) -> None:
        """See `Store.park`."""
        connection = self._connection.get()
        with connection.transaction():
            _require_place([checkpoint], read_checkpoints(connection, [checkpoint.projection], lock=True))
            if isinstance(entry, Redaction):
                raise _unredacted(checkpoint.projection, entry.record.position, error)
            if isinstance(entry, Change) and entry.aggregate in self._projections[checkpoint.projection].follows:
                self._set_aside(connection, checkpoint.projection, entry, error)
            move_checkpoints(connection, [checkpoint.projection], entry)

    def _set_aside(self, connection: psycopg.Connection[Any], name: str, change: Change[Any], error: str) -> None:
        projection = self._projections[name]
        if not isinstance(projection, NeverParks):
            park_changes(connection, name, [change], error)
            return
        try:
            projection.apply_plainly(connection, change)
        except Exception as failure:
            if connection.broken or (isinstance(failure, psycopg.Error) and is_server_trouble(failure)):
                raise
            raise ProjectionHolds(name, f"event {change.record.position} cannot be taken: {failure_told(failure)}") from failure


def _failed(connection: psycopg.Connection[Any], projection: str, error: Exception) -> Exception:
    """What is to be raised where applying failed."""
    if connection.broken:
        return psycopg.OperationalError(f"the connection was lost: {error}")
    return _judged(projection, error)


def _unredacted(projection: str, position: int, why: str) -> ProjectionHolds:
    """Whoever went past a redaction would keep what was erased, so nobody does."""
    return ProjectionHolds(projection, f"what was erased up to {position} cannot be taken out: {why}")


def _judged(projection: str, error: Exception) -> Exception:
    """What a failed application says: something of the server, of the tables, or of the event."""
    if isinstance(error, psycopg.Error):
        if is_server_trouble(error):
            return error
        if not is_events_fault(error):
            return ProjectionHolds(projection, f"the tables are not those of this release: {str(error).splitlines()[0]}")
    return ProjectionFailed(projection, error)


def is_server_trouble(error: psycopg.Error) -> bool:
    """Whether it is the server's state that failed and not the statement: lost connections, conflicts, shutdown, lack of space,
    memory or a lock, a server that became a standby. Exceeded limits of a value (class 54) are the statement's own."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _SERVER_TROUBLE or error.sqlstate == "25006"


def is_events_fault(error: psycopg.Error) -> bool:
    """Whether a value of the event was refused (SQLSTATE classes 21, 22, 23, 44 and 54). Anything else, such as a missing
    table, column or right, a changed type or a broken index, would befall healthy events as well. So would a column that wants
    a value and gets none (23502): no event of ours lacks one."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    return error.sqlstate[:2] in _OF_VALUES and error.sqlstate != "23502"


_SERVER_TROUBLE: Final = frozenset({"08", "40", "53", "55", "57", "58"})
_OF_VALUES: Final = frozenset({"21", "22", "23", "44", "54"})


def _require_place(expected: Sequence[Checkpoint], found: Sequence[Checkpoint]) -> None:
    """Equality, not order: a checkpoint further on means that somebody else applied this batch, one further back that the
    database was restored under us. Another generation was built meanwhile; after a replay of parked events other streams are
    parked."""
    places = {checkpoint.projection: checkpoint for checkpoint in found}
    for checkpoint in expected:
        place = places.get(checkpoint.projection)
        if (
            place is None
            or (place.position, place.identity) != (checkpoint.position, checkpoint.identity)
            or (place.generation, place.replays) != (checkpoint.generation, checkpoint.replays)
        ):
            raise Moved(checkpoint.projection)
