"""Read model `task_history` (Postgres): every event as a timeline entry: who, when, why, each field before and after."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

from domain.task import Task
from projections.changes import Change

_encode = msgspec.json.Encoder().encode
_FIELDS: Final = Task.__struct_fields__


class FieldChange(msgspec.Struct, frozen=True):
    """One field of the task before and after an event."""

    field: str
    before: Any
    after: Any


class HistoryEntry(msgspec.Struct, frozen=True):
    """One event of a task: what happened (`type`), who did it, when, why, and what it changed.

    `recorded_at` is when the log took it, `effective_at` (imported history only) when it really happened. `attributes` is
    what else an imported history knew of the step, by name.
    """

    position: int
    task_id: UUID
    version: int
    type: str
    principal_id: UUID
    recorded_at: datetime
    effective_at: datetime | None
    reason: str | None
    attributes: dict[str, str]
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    hash: str
    changes: tuple[FieldChange, ...]


def history_entry(change: Change) -> HistoryEntry:
    """The timeline entry of one change."""
    record = change.record
    return HistoryEntry(
        record.position,
        record.stream_id,
        record.version,
        str(record.event.__struct_config__.tag),
        record.principal_id,
        record.recorded_at,
        record.effective_at,
        record.event.reason,
        record.event.attributes,
        record.command_id,
        record.correlation_id,
        record.causation_id,
        record.hash.hex(),
        field_changes(change.before.task if change.before else None, change.after.task),
    )


def field_changes(before: Task | None, after: Task) -> tuple[FieldChange, ...]:
    """The fields in which two states of a task differ; for a new task every field that is not empty, from null."""
    if before is None:
        return tuple(FieldChange(field, None, new) for field in _FIELDS if (new := getattr(after, field)))
    return tuple(
        FieldChange(field, old, new) for field in _FIELDS if (old := getattr(before, field)) != (new := getattr(after, field))
    )


class TaskHistory:
    """The projection."""

    name: Final = "task_history"
    tables: Final = ("task_history",)

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        """Add one row an event."""
        connection.execute(
            "INSERT INTO task_history (position, workspace_id, task_id, version, entry) "
            "SELECT * FROM unnest(%b::bigint[], %b::uuid[], %b::uuid[], %b::bigint[], %b::bytea[])",
            (
                [change.record.position for change in changes],
                [change.record.workspace_id for change in changes],
                [change.record.stream_id for change in changes],
                [change.record.version for change in changes],
                [_encode(history_entry(change)) for change in changes],
            ),
        )


class Entries(msgspec.Struct, frozen=True):
    """Timeline entries as JSON, ready to be sent, and the position that they reflect. `last` is the last entry's key."""

    items: list[bytes]
    last: int
    position: int


async def history_of(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    task_id: UUID,
    after_version: int,
    limit: int,
) -> Entries:
    """A task's entries after a version, oldest first; `last` is a version."""
    return await _entries(
        connection,
        "SELECT c.position, h.version, h.entry FROM checkpoints c LEFT JOIN LATERAL ("
        "SELECT version, entry FROM task_history WHERE task_id = %s AND workspace_id = %s AND version > %s "
        "ORDER BY version LIMIT %s) h ON true WHERE c.projection = 'task_history'",
        (task_id, workspace_id, after_version, limit),
        after_version,
    )


async def changes_after(connection: psycopg.AsyncConnection[Any], workspace_id: UUID, after: int, limit: int) -> Entries:
    """The workspace's entries after a global position, in order; `last` is a position."""
    return await _entries(
        connection,
        "SELECT c.position, h.position, h.entry FROM checkpoints c LEFT JOIN LATERAL ("
        "SELECT position, entry FROM task_history WHERE workspace_id = %s AND position > %s "
        "ORDER BY position LIMIT %s) h ON true WHERE c.projection = 'task_history'",
        (workspace_id, after, limit),
        after,
    )


async def _entries(connection: psycopg.AsyncConnection[Any], query: str, parameters: tuple[object, ...], start: int) -> Entries:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query.encode(), parameters, prepare=True)
    rows = await cursor.fetchall()
    found = [row for row in rows if row[2] is not None]
    return Entries([row[2] for row in found], found[-1][1] if found else start, rows[0][0])
