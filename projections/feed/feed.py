"""Read model `task_history` (Postgres): every event as a timeline entry: who, when, why, each field before and after."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed

from domain.envelope import Erased
from domain.task.aggregate import TASK
from domain.task.events import TaskEvent
from domain.task.rules import Task
from projections.tables.bounds import Room, within_room
from projections.tables.portions import portions
from projections.task.document import TaskChange, TaskRecord

_encode = msgspec.json.Encoder().encode
ANY_VERSION: Final = 2**62
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


def history_entry(change: TaskChange) -> HistoryEntry:
    """The timeline entry of one change."""
    event = change.record.event
    changes = field_changes(change.before.task if change.before else None, change.after.task)
    return msgspec.structs.replace(
        plain_entry(change.record), reason=event.reason, attributes=event.attributes, changes=changes
    )


def plain_entry(record: TaskRecord) -> HistoryEntry:
    """What an event's envelope says: everything but why, with which attributes, and what it changed."""
    return HistoryEntry(
        position=record.position,
        task_id=record.stream_id,
        version=record.version,
        type=topic_of(record.event),
        principal_id=record.principal_id,
        recorded_at=record.recorded_at,
        effective_at=record.effective_at,
        reason=None,
        attributes={},
        command_id=record.command_id,
        correlation_id=record.correlation_id,
        causation_id=record.causation_id,
        hash=record.hash.hex(),
        changes=(),
    )


def topic_of(event: TaskEvent | Erased) -> str:
    """The type of an event, erased or not."""
    return event.topic if isinstance(event, Erased) else str(event.__struct_config__.tag)


def field_changes(before: Task | None, after: Task) -> tuple[FieldChange, ...]:
    """The fields in which two states of a task differ; for a new task every field that says something, from null."""
    if before is None:
        return tuple(FieldChange(field, None, new) for field in _FIELDS if not _is_empty(new := getattr(after, field)))
    return tuple(
        FieldChange(field, old, new) for field in _FIELDS if (old := getattr(before, field)) != (new := getattr(after, field))
    )


def _is_empty(value: object) -> bool:
    # Not whatever counts as false: a number may well be 0.
    return value is None or value is False or value in ("", ())


class TaskHistory:
    """The projection."""

    name: Final = "task_history"
    tables: Final = ("task_history",)
    layout: Final = 1
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({TASK.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
        """Add one row an event."""
        for portion in portions(changes, _characters):
            connection.execute(
                "INSERT INTO task_history (position, workspace_id, task_id, version, entry) "
                "SELECT * FROM unnest(%b::bigint[], %b::uuid[], %b::uuid[], %b::bigint[], %b::bytea[])",
                (
                    [change.record.position for change in portion],
                    [change.record.workspace_id for change in portion],
                    [change.record.stream_id for change in portion],
                    [change.record.version for change in portion],
                    [_encode(history_entry(change)) for change in portion],
                ),
            )

    def apply_plainly(self, connection: psycopg.Connection[Any], change: TaskChange) -> None:
        """Add the row of an event that `apply` fails at: what its envelope says, without reason and changes.

        The history is a feed. An event that was left out and filled in later would never be seen by those who follow it.
        """
        record = change.record
        connection.execute(
            "INSERT INTO task_history (position, workspace_id, task_id, version, entry) VALUES (%s, %s, %s, %s, %s)",
            (record.position, record.workspace_id, record.stream_id, record.version, _encode(plain_entry(record))),
        )


def _characters(change: TaskChange) -> int:
    before, after = change.before.task.description if change.before else "", change.after.task.description
    return 100 if before is after else 100 + len(before) + len(after)


class Entries(msgspec.Struct, frozen=True):
    """Timeline entries as JSON, ready to be sent, and the position that they reflect.

    `last` is the key of the last one (0 without any), `more` whether others follow it. `digits` are those of the event at which
    a follower stands who has read them all: at `position`, or where he began if that is further.
    """

    items: list[bytes]
    last: int
    position: int
    more: bool
    digits: str | None


async def history_of(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    task_id: UUID,
    after_version: int,
    room: Room,
    until_version: int = ANY_VERSION,
) -> Entries:
    """A task's entries after a version, oldest first, none after `until_version`; `last` is a version."""
    places = {"task": task_id, "workspace": workspace_id, "after": after_version, "until": until_version, "began": 0}
    return await _entries(connection, _HISTORY, places, room)


async def changes_after(connection: psycopg.AsyncConnection[Any], workspace_id: UUID, after: int, room: Room) -> Entries:
    """The workspace's entries after a global position, in order; `last` is a position."""
    return await _entries(connection, _CHANGES, {"workspace": workspace_id, "after": after, "began": after}, room)


async def changes_with_tasks(connection: psycopg.AsyncConnection[Any], workspace_id: UUID, after: int, room: Room) -> Entries:
    """As `changes_after`, each entry with its `task` as it is at the answer's position, which is never before the entry.

    The entries end where the list of tasks does; a task that it does not have is null.
    """
    places = {"workspace": workspace_id, "after": after, "began": after}
    return await _entries(connection, _CHANGES_WITH_TASKS, places, room)


def _query(projections: str, rows: str) -> Composed:
    return SQL(
        "SELECT c.position, e.hash, h.key, h.body, h.found, h.task, h.with_task "
        "FROM (SELECT min(position) AS position FROM checkpoints WHERE projection IN ({projections})) c "
        "LEFT JOIN events e ON e.notification_id = greatest(c.position, %(began)s) LEFT JOIN LATERAL ({rows}) h ON true"
    ).format(projections=SQL(projections), rows=within_room(SQL(rows), SQL("key")))


_PLAIN: Final = "entry AS body, octet_length(entry) AS size, NULL::bytea AS task, false AS with_task FROM task_history"
_HISTORY: Final = _query(
    "'task_history'",
    f"SELECT version AS key, {_PLAIN} WHERE task_id = %(task)s AND workspace_id = %(workspace)s AND version > %(after)s "
    "AND version <= %(until)s "
    "ORDER BY version LIMIT %(rows)s + 1",
)
_CHANGES: Final = _query(
    "'task_history'",
    f"SELECT position AS key, {_PLAIN} WHERE workspace_id = %(workspace)s AND position > %(after)s "
    "ORDER BY position LIMIT %(rows)s + 1",
)
_CHANGES_WITH_TASKS: Final = _query(
    "'task_history', 'task_list'",
    "SELECT h.position AS key, h.entry AS body, octet_length(h.entry) + coalesce(octet_length(t.detail), 0) AS size, "
    "t.detail AS task, true AS with_task FROM task_history h "
    "LEFT JOIN task_list t ON t.task_id = h.task_id AND t.workspace_id = h.workspace_id "
    "WHERE h.workspace_id = %(workspace)s AND h.position > %(after)s AND h.position <= c.position "
    "ORDER BY h.position LIMIT %(rows)s + 1",
)


async def _entries(connection: psycopg.AsyncConnection[Any], query: Composed, places: dict[str, Any], room: Room) -> Entries:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, {**places, "rows": room.rows, "octets": room.octets}, prepare=True)
    answered = await cursor.fetchall()
    position, event_hash = answered[0][:2]
    found = [row for row in answered if row[2] is not None]
    return Entries(
        [_with_task(row[3], row[5]) if row[6] else row[3] for row in found],
        found[-1][2] if found else 0,
        position,
        bool(found) and found[0][4] > len(found),
        event_hash[:4].hex() if event_hash else None,
    )


def _with_task(entry: bytes, task: bytes | None) -> bytes:
    return b'%s,"task":%s}' % (entry[:-1], task or b"null")
