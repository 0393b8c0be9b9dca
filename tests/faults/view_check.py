"""fold(log) = Postgres = Redis: the read models against a fold of the log, compared through code of their own.

Only `fold` is the product's; reading the log, and what a read model must hold for a folded task, is written here again.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import redis

from domain.envelope import RecordedEvent
from domain.project.aggregate import PROJECT
from domain.project.events import ProjectEvent
from domain.project.rules import Project
from domain.task.events import TaskEvent
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.servers.postgres import models_schema
from infrastructure.settings import Settings
from projections.task.document import TaskDocument, TaskRecord, fold

_LOG = """
SELECT notification_id, originator_id, originator_version, recorded_at, effective_at, workspace_id, principal_id, command_id,
       correlation_id, causation_id, state, hash, number
FROM log_main.events ORDER BY notification_id
"""
_ENVELOPE = RecordedEvent.__struct_fields__[:10]
_TIMES = ("due_at", "created_at", "updated_at", "started_at", "completed_at", "deleted_at")
_COUNTED = {"created", "started", "completed", "reopened", "cancelled", "deleted"}

Documents = dict[UUID, TaskDocument]
Record = RecordedEvent[TaskEvent | ProjectEvent]


def read_log(connection: psycopg.Connection[Any]) -> list[Record]:
    """Every event, in order."""
    return [
        RecordedEvent(
            **dict(zip(_ENVELOPE, row[:10], strict=True)),
            event=msgspec.json.decode(row[10], type=TaskEvent | ProjectEvent),
            hash=bytes(row[11]),
            number=row[12],
        )
        for row in connection.execute(_LOG)
    ]


def of_tasks(records: Iterable[Record]) -> list[TaskRecord]:
    """Those about tasks."""
    return [record for record in records if isinstance(record.event, TaskEvent)]  # type: ignore[misc]  # narrowed by that


def fold_all(records: Iterable[Record]) -> Documents:
    """Every task."""
    documents: Documents = {}
    for record in of_tasks(records):
        documents[record.stream_id] = fold(documents.get(record.stream_id), record)
    return documents


def line(document: TaskDocument) -> dict[str, Any]:
    """What a list must say of a task."""
    task = document.task
    return {
        "id": str(document.id),
        "project_id": str(task.project_id) if task.project_id else None,
        "number": document.number,
        "title": task.title,
        "status": task.status,
        "priority": task.priority,
        "due_at": _instant(task.due_at),
        "assignees": [str(assignee) for assignee in task.assignees],
        "labels": list(task.labels),
        "estimate": task.estimate,
        "deleted": task.deleted,
        "version": document.version,
        "position": document.position,
        "created_at": _instant(document.created_at),
        "created_by": str(document.created_by),
        "updated_at": _instant(document.happened_at),
        "started_at": _instant(document.started_at),
        "completed_at": _instant(document.completed_at),
    }


def full(document: TaskDocument) -> dict[str, Any]:
    """What the task itself must say."""
    return line(document) | {
        "workspace_id": str(document.workspace_id),
        "description": document.task.description,
        "updated_by": str(document.updated_by),
        "deleted_at": _instant(document.deleted_at),
    }


def plain(served: dict[str, Any]) -> dict[str, Any]:
    """A served task with its times in one spelling."""
    return served | {name: _instant(datetime.fromisoformat(served[name])) for name in _TIMES if served.get(name)}


def counted(documents: Iterable[TaskDocument]) -> dict[str, int]:
    """Tasks by status, deleted ones apart; only those that are not zero."""
    return dict(Counter("deleted" if d.task.deleted else d.task.status for d in documents))


def view_violations(settings: Settings) -> list[str]:
    """Every way in which a read model differs from the log. Nothing may be under way."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"SET search_path = log_main, {models_schema('main')}, taskmaster")
        connection.execute("SET timezone = 'UTC'")
        records = read_log(connection)
        documents = fold_all(records)
        found = [*_checkpoints(connection, len(records)), *_tables(connection, records, documents)]
        generation = connection.execute("SELECT generation FROM checkpoints WHERE projection = 'hot_tasks'").fetchone()
    with redis.Redis.from_url(settings.redis_url) as client:
        found += _hot(client, hot_keys("main", generation[0] if generation else 0).prefix, records, documents)
    return found


def _checkpoints(connection: psycopg.Connection[Any], head: int) -> Iterable[str]:
    for name, position, held, noted_at in connection.execute("SELECT projection, position, held, noted_at FROM checkpoints"):
        if name != "hot_tasks" and position != head:
            yield f"{name} stands at {position}, the log at {head}"
        # That in Redis is noted to be held at a place that it may have left since.
        if held and (name != "hot_tasks" or noted_at == head):
            yield f"{name} is held: {held}"
    for parked in connection.execute("SELECT projection, position, error FROM parked ORDER BY position"):
        yield f"parked: {parked}"


def _tables(connection: psycopg.Connection[Any], records: Sequence[Record], documents: Documents) -> Iterable[str]:
    rows = connection.execute(
        "SELECT task_id, workspace_id, created_position, status, deleted, version, summary, detail FROM task_list"
    )
    stored = {row[0]: row for row in rows}
    yield from _same_keys("task_list", stored, documents)
    for task, row in stored.items():
        if (document := documents.get(task)) is None:
            continue
        wanted = (
            document.workspace_id,
            document.created_position,
            document.task.status,
            document.task.deleted,
            document.version,
        )
        if tuple(row[1:6]) != wanted:
            yield f"task_list {task}: {row[1:6]} instead of {wanted}"
        yield from _same(f"task_list {task} summary", plain(json.loads(row[6])), line(document))
        yield from _same(f"task_list {task} detail", plain(json.loads(row[7])), full(document))
    feed = connection.execute(
        "SELECT position, workspace_id, ordinal, stream_id, version FROM feed ORDER BY position"
    ).fetchall()
    counted: Counter[UUID] = Counter()
    wanted = []
    for r in records:
        counted[r.workspace_id] += 1
        wanted.append((r.position, r.workspace_id, counted[r.workspace_id], r.stream_id, r.version))
    yield from _same("feed", feed, wanted)
    days = connection.execute(
        "SELECT workspace_id, scope, day, created, started, completed, completion_events, reopened, cancelled, deleted, "
        "open_change, in_progress_change FROM flow_daily"
    )
    yield from _same("flow_daily", {row[:3]: tuple(row[3:]) for row in days}, _flow(of_tasks(records)))
    keys = connection.execute("SELECT project_id, key, archived, deleted FROM project_list").fetchall()
    yield from _same("project_list", {row[0]: row[1:] for row in keys}, _projects(records))
    completions = connection.execute("SELECT task_id FROM flow_completions").fetchall()
    yield from _same_keys("flow_completions", [c[0] for c in completions], [d.id for d in documents.values() if _done(d)])


def _projects(records: Sequence[Record]) -> dict[UUID, tuple[Any, ...]]:
    states: dict[UUID, Project] = {}
    for record in records:
        if isinstance(record.event, ProjectEvent):
            states[record.stream_id] = PROJECT.evolve(states.get(record.stream_id), record.event)
    return {each: (project.key, project.archived, project.deleted) for each, project in states.items()}


def _flow(records: Sequence[TaskRecord]) -> dict[Any, tuple[int, ...]]:
    names = ("created", "started", "completed", "completion_events", "reopened", "cancelled", "deleted", "open_change")
    days: dict[Any, Counter[str]] = defaultdict(Counter)
    documents: Documents = {}
    for record in records:
        before, after = documents.get(record.stream_id), fold(documents.get(record.stream_id), record)
        documents[record.stream_id] = after
        old, new = before.task.project_id if before else None, after.task.project_id
        for scope in {record.workspace_id, old, new} - {None}:
            was = before if scope in (record.workspace_id, old) else None
            now = after if scope in (record.workspace_id, new) else None
            _count(days, (record.workspace_id, scope), record, (was, now, after.clock.latest))
    return {key: tuple(day[name] for name in (*names, "in_progress_change")) for key, day in days.items()}


def _count(
    days: dict[Any, Counter[str]],
    scope: tuple[Any, Any],
    record: TaskRecord,
    sides: tuple[TaskDocument | None, TaskDocument | None, datetime],
) -> None:
    before, after, at = sides
    moved = {
        "open_change": _is(after, "open", "in_progress") - _is(before, "open", "in_progress"),
        "in_progress_change": _under_way(after) - _under_way(before),
    }
    if (after and _kind(record) in _COUNTED) or any(moved.values()):
        day = days[*scope, at.date()]
        day.update(moved)
        if after:
            day[_kind(record).replace("completed", "completion_events")] += 1
    for document, change in ((before, -1), (after, 1)):
        if document and (done := _done(document)):
            days[*scope, done.date()]["completed"] += change


def _done(document: TaskDocument) -> datetime | None:
    return document.clock.completed if _is(document, "completed") else None


def _under_way(document: TaskDocument | None) -> int:
    return int(document is not None and document.clock.underway and _is(document, "open", "in_progress"))


def _kind(record: TaskRecord) -> str:
    return str(record.event.__struct_config__.tag).removeprefix("task.")


def _is(document: TaskDocument | None, *statuses: str) -> int:
    return int(document is not None and not document.task.deleted and document.task.status in statuses)


def _hot(client: redis.Redis, prefix: str, records: Sequence[Record], documents: Documents) -> Iterable[str]:
    checkpoint = client.get(f"{prefix}checkpoint")
    if checkpoint is None:
        yield "Redis does not hold the read model"
        return
    if int(checkpoint.rsplit(b" ", 1)[1]) != len(records):
        yield f"Redis stands at {checkpoint!r}, the log at {len(records)}"
    names = {name.decode().removeprefix(prefix) for name in client.scan_iter(match=f"{prefix}*", count=1000)}
    tasks = {f"t:{d.workspace_id.hex}:{d.id.hex}": d for d in documents.values()}
    yield from _same_keys("Redis tasks", {name for name in names if name.startswith("t:")}, tasks)
    for name, document in tasks.items():
        version, _, body = (client.get(prefix + name) or b"0 {}").partition(b" ")
        yield from _same(f"Redis {name}", (int(version), plain(json.loads(body))), (document.version, full(document)))
    for workspace in {d.workspace_id for d in documents.values()}:
        own = [d for d in documents.values() if d.workspace_id == workspace]
        yield from _hot_workspace(client, prefix, workspace, own)


def _hot_workspace(client: redis.Redis, prefix: str, workspace: UUID, own: Sequence[TaskDocument]) -> Iterable[str]:
    shown = {d.id.hex: d for d in own if not d.task.deleted}
    rows = {name.decode(): plain(json.loads(row)) for name, row in client.hgetall(f"{prefix}r:{workspace.hex}").items()}
    yield from _same(f"Redis rows of {workspace}", rows, {name: line(d) for name, d in shown.items()})
    order = {name.decode(): int(score) for name, score in client.zrange(f"{prefix}o:{workspace.hex}", 0, -1, withscores=True)}
    yield from _same(f"Redis order of {workspace}", order, {name: d.created_position for name, d in shown.items()})
    counts = {name.decode(): int(n) for name, n in client.hgetall(f"{prefix}c:{workspace.hex}").items() if int(n)}
    yield from _same(f"Redis counters of {workspace}", counts, counted(own))
    page = client.get(f"{prefix}p:{workspace.hex}")
    if page is not None:
        newest = sorted(shown.values(), key=lambda d: -d.created_position)[:20]
        served = [plain(item) for item in json.loads(page.partition(b" ")[2])]
        yield from _same(f"Redis page of {workspace}", served, [line(d) for d in newest])


def _same(what: str, found: Any, wanted: Any) -> Iterable[str]:
    if found != wanted:
        yield f"{what}: {_cut(found)} instead of {_cut(wanted)}"


def _same_keys(what: str, found: Iterable[Any], wanted: Iterable[Any]) -> Iterable[str]:
    missing, spare = set(wanted) - set(found), set(found) - set(wanted)
    if missing or spare:
        yield f"{what}: {len(missing)} missing {_cut(sorted(missing, key=str)[:3])}, {len(spare)} too many"


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:400]}…"


def _instant(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
