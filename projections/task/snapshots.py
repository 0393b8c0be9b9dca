"""Read model `task_snapshots` (Postgres): a task's document at every hundredth version, so that time travel stays quick."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg.errors import UndefinedTable

from domain.envelope import Erased
from domain.task.aggregate import TASK
from projections.engine.documents import SPAN, Documents
from projections.tables.columns import Columns
from projections.task.document import TaskChange, TaskDocument, document_size, fold
from projections.task.renderings import forget_renderings

EVERY: Final = SPAN

GOOD: LiteralString = (
    "EXISTS (SELECT FROM events e WHERE e.originator_id = t.task_id AND e.originator_version = t.version "
    "AND (e.state IS NULL) = t.erased)"
)
"""Whether a snapshot `t` may be folded from: one that was made before its event's payload was erased may not."""

_COLUMNS: Final = Columns(
    ("task_id", "uuid"),
    ("version", "bigint"),
    ("position", "bigint"),
    ("known_by", "timestamptz"),
    ("erased", "boolean"),
    ("document", "bytea"),
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskDocument).decode


class TaskSnapshots:
    """The projection."""

    name: Final = "task_snapshots"
    tables: Final = ("task_snapshots",)
    layout: Final = 3
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({TASK.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
        """Store the documents that are due among `changes`."""
        _store(connection, changes, "ON CONFLICT DO NOTHING")

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[Sequence[TaskChange]]) -> None:
        """Store the documents that are due in these histories in the place of what was stored of them."""
        changes = [change for history in histories for change in history]
        _store(
            connection,
            changes,
            "ON CONFLICT (task_id, version) DO UPDATE SET document = excluded.document, erased = excluded.erased",
        )


def _store(connection: psycopg.Connection[Any], changes: Sequence[TaskChange], if_there: LiteralString) -> None:
    due = [change for change in changes if change.after.version % EVERY == 0]
    if not due:
        return
    statement = f"INSERT INTO task_snapshots ({_COLUMNS.listed}) SELECT * FROM {_COLUMNS.unnested} {if_there}"
    connection.execute(statement.encode(), _COLUMNS.arrays(map(_row, due)))


def _row(change: TaskChange) -> tuple[object, ...]:
    document = change.after
    return (
        document.id,
        document.version,
        document.position,
        document.known_by,
        isinstance(change.record.event, Erased),
        _encode(document),
    )


class _Snapshots:
    async def latest(self, connection: psycopg.AsyncConnection[Any], task_id: UUID, version: int) -> TaskDocument | None:
        """See `Snapshots.latest`."""
        return await latest_snapshot(connection, task_id, version)

    async def known_by(self, connection: psycopg.AsyncConnection[Any], task_id: UUID, instant: datetime) -> int:
        """See `Snapshots.known_by`."""
        cursor = await connection.execute(_KNOWN_BY, (task_id, instant), prepare=True)
        row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def until(
        self, connection: psycopg.AsyncConnection[Any], tasks: Sequence[UUID], position: int, instant: datetime
    ) -> dict[UUID, TaskDocument]:
        """See `Snapshots.until`."""
        cursor = connection.cursor(binary=True)
        await cursor.execute(_UNTIL, {"tasks": list(tasks), "position": position, "instant": instant}, prepare=True)
        documents = [_decode(stored) for (stored,) in await cursor.fetchall()]
        return {document.id: document for document in documents}

    def before(self, connection: psycopg.Connection[Any], versions: dict[UUID, int]) -> dict[UUID, TaskDocument]:
        """See `Snapshots.before`."""
        return snapshots_before(connection, versions)


_KNOWN_BY: Final = (
    f"SELECT version FROM task_snapshots t WHERE task_id = %s AND known_by <= %s AND {GOOD} ORDER BY version DESC LIMIT 1"
)
_UNTIL: Final = (
    "SELECT s.document FROM unnest(%(tasks)s::uuid[]) AS w(task_id) CROSS JOIN LATERAL (SELECT document FROM task_snapshots t "
    f"WHERE t.task_id = w.task_id AND t.position <= %(position)s AND t.known_by <= %(instant)s AND {GOOD} "
    "ORDER BY version DESC LIMIT 1) s"
)


TASK_DOCUMENTS: Final = Documents(
    aggregate=TASK,
    fold=fold,
    state=lambda document: document.task,
    size=document_size,
    scope=lambda document: document.task.project_id,
    forget=forget_renderings,
    snapshots=_Snapshots(),
)


async def latest_snapshot(connection: psycopg.AsyncConnection[Any], task_id: UUID, version: int) -> TaskDocument | None:
    """The task's newest snapshot that is not after `version`; None where there is none."""
    cursor = connection.cursor(binary=True)
    query = (
        f"SELECT document FROM task_snapshots t WHERE task_id = %s AND version <= %s AND {GOOD} ORDER BY version DESC LIMIT 1"
    )
    try:
        await cursor.execute(query, (task_id, version), prepare=True)
    except UndefinedTable:
        # This release's read models are still being built: the log alone knows the task.
        return None
    row = await cursor.fetchone()
    return _decode(row[0]) if row else None


def snapshots_before(connection: psycopg.Connection[Any], versions: dict[UUID, int]) -> dict[UUID, TaskDocument]:
    """For each task its newest snapshot not after the given version, where there is one."""
    cursor = connection.cursor(binary=True)
    cursor.execute(
        "SELECT s.document FROM unnest(%b::uuid[], %b::bigint[]) AS w(task_id, version) CROSS JOIN LATERAL ("
        f"SELECT document FROM task_snapshots t WHERE t.task_id = w.task_id AND t.version <= w.version AND {GOOD} "
        "ORDER BY t.version DESC LIMIT 1) s",
        (list(versions), list(versions.values())),
        prepare=True,
    )
    documents = [_decode(row[0]) for row in cursor]
    return {document.id: document for document in documents}
