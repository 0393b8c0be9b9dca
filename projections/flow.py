"""Read model `flow` (Postgres): daily flow counts and completion facts, from which the flow metrics are computed.

Definitions, as in the Kanban literature (Vacanti, Actionable Agile Metrics): a task *stands completed* while it
is completed and not deleted. *Throughput* is the number of tasks that stand completed, on the day of their completion; *lead
time* runs from creation to that completion, *cycle time* from the first start to it. So the throughput of a span is the count
of its lead times, and reopening, deleting and restoring move both. *Work in progress* counts tasks that are started and
neither completed nor cancelled nor deleted nor stopped; one that is reopened is under way again if it had been. Events are
counted apart, and stay facts of their day. When an event counts is told by `Clock` in `task_document`. Days are UTC; a
percentile is the smallest observed value that at least so many percent do not exceed.

A project's flow is that of the tasks in it: what happened counts where it did, what stands completed or is open where it is by
then. A task that is moved takes its completion with it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, assert_never
from uuid import UUID

import msgspec
import psycopg

from domain.task.aggregate import TASK
from domain.task.erased import known
from domain.task.events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskMoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)
from projections.task.document import TaskChange, TaskDocument

DAYS_MAX: Final = 7400
"""So many days an answer covers at most: some twenty years."""

_COUNTS: Final = (
    "created",
    "started",
    "completed",
    "completion_events",
    "reopened",
    "cancelled",
    "deleted",
    "open_change",
    "in_progress_change",
)
_ADD_DAYS: Final = (
    f"INSERT INTO flow_daily (workspace_id, scope, day, {', '.join(_COUNTS)}) "
    f"SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::date[], {', '.join(['%b::integer[]'] * len(_COUNTS))}) "
    "ON CONFLICT (workspace_id, scope, day) DO UPDATE SET "
    + ", ".join(f"{name} = flow_daily.{name} + excluded.{name}" for name in _COUNTS)
).encode()


_Days = dict[tuple[UUID, UUID, date], Counter[str]]


class Flow:
    """The projection."""

    name: Final = "flow"
    tables: Final = ("flow_daily", "flow_completions")
    layout: Final = 2
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({TASK.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
        """Add the changes to their days, and write which tasks stand completed now."""
        days: _Days = defaultdict(Counter)
        moved: dict[UUID, TaskDocument] = {}
        for change in changes:
            for scope, before, after in _scopes(change):
                _count(days, (change.after.workspace_id, scope), change, (before, after))
            if _stands(change.before) != _stands(change.after):
                moved[change.after.id] = change.after
        if days:
            rows = [(*key, *(counts[name] for name in _COUNTS)) for key, counts in sorted(days.items())]
            connection.execute(_ADD_DAYS, tuple(list(column) for column in zip(*rows, strict=True)))
        if moved:
            _write_completions(connection, list(moved.values()))

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[Sequence[TaskChange]]) -> None:
        """Nothing to do: what is counted and measured here, types and envelopes tell, and those stay."""


Sides = tuple[TaskDocument | None, TaskDocument | None]


def _scopes(change: TaskChange) -> Iterator[tuple[UUID, TaskDocument | None, TaskDocument | None]]:
    """For the workspace and for each project that it concerns: the task before and after as far as it was in it."""
    before, after = change.before, change.after
    yield after.workspace_id, before, after
    old, new = before.task.project_id if before else None, after.task.project_id
    if old is not None and old != new:
        yield old, before, None
    if new is not None:
        yield new, before if old == new else None, after


def _count(days: _Days, scope: tuple[UUID, UUID], change: TaskChange, sides: Sides) -> None:
    before, after = sides
    counted = _counted(known(change.record.event)) if after else None
    opened = _is_open(after) - _is_open(before)
    begun = _is_under_way(after) - _is_under_way(before)
    if counted or opened or begun:
        day = days[*scope, change.after.clock.latest.date()]
        if counted:
            day[counted] += 1
        day["open_change"] += opened
        day["in_progress_change"] += begun
    stood, stands = _completed(before), _completed(after)
    if stood != stands:
        if stood:
            days[*scope, stood.date()]["completed"] -= 1
        if stands:
            days[*scope, stands.date()]["completed"] += 1


def _write_completions(connection: psycopg.Connection[Any], documents: Sequence[TaskDocument]) -> None:
    standing = [(document, at) for document in documents if (at := _completed(document))]
    gone = [document.id for document in documents if not _completed(document)]
    if gone:
        connection.execute("DELETE FROM flow_completions WHERE task_id = ANY(%b)", (gone,))
    if standing:
        connection.execute(
            "INSERT INTO flow_completions (task_id, workspace_id, project_id, completed_at, lead_seconds, cycle_seconds) "
            "SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::float8[], %b::float8[]) "
            "ON CONFLICT (task_id) DO UPDATE SET project_id = excluded.project_id, completed_at = excluded.completed_at, "
            "lead_seconds = excluded.lead_seconds, cycle_seconds = excluded.cycle_seconds",
            (
                [document.id for document, _ in standing],
                [document.workspace_id for document, _ in standing],
                [document.task.project_id for document, _ in standing],
                [at for _, at in standing],
                [(at - document.clock.created).total_seconds() for document, at in standing],
                [
                    (at - document.clock.started).total_seconds() if document.clock.started else None
                    for document, at in standing
                ],
            ),
        )


def _counted(event: TaskEvent) -> str | None:  # noqa: PLR0911 - one table, one line an entry
    match event:
        case TaskCreated():
            return "created"
        case TaskStarted():
            return "started"
        case TaskCompleted():
            return "completion_events"
        case TaskReopened():
            return "reopened"
        case TaskCancelled():
            return "cancelled"
        case TaskDeleted():
            return "deleted"
        case (
            TaskRenamed()
            | TaskDescribed()
            | TaskPrioritySet()
            | TaskDueDateSet()
            | TaskDueDateCleared()
            | TaskAssigned()
            | TaskUnassigned()
            | TaskLabelAdded()
            | TaskLabelRemoved()
            | TaskStopped()
            | TaskRestored()
            | TaskMoved()
            | TaskActivityLogged()
        ):
            return None
        case _:
            assert_never(event)


def _is_open(document: TaskDocument | None) -> int:
    return int(document is not None and not document.task.deleted and document.task.status in ("open", "in_progress"))


def _is_under_way(document: TaskDocument | None) -> int:
    return int(document is not None and document.clock.underway and _is_open(document))


def _stands(document: TaskDocument | None) -> tuple[datetime, UUID | None] | None:
    """When a task was completed that stands so, and in which project it is."""
    at = _completed(document)
    return (at, document.task.project_id) if document and at else None


def _completed(document: TaskDocument | None) -> datetime | None:
    """When the task was completed, while it stands so."""
    if document is None or document.task.deleted or document.task.status != "completed":
        return None
    return document.clock.completed


class FlowDay(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One UTC day. `completed` is its throughput: the tasks that were completed on it and stand so.

    `created`, `started`, `completion_events`, `reopened`, `cancelled` and `deleted` are what happened on it, whatever became of
    it later. `open` and `in_progress` are how many tasks were open, and how many of them under way, at its end.
    """

    day: date
    created: int
    started: int
    completed: int
    completion_events: int
    reopened: int
    cancelled: int
    deleted: int
    open: int
    in_progress: int


class Percentiles(msgspec.Struct, frozen=True):
    """Observed times in seconds; null where there is no observation."""

    count: int
    p50: float | None
    p85: float | None
    p95: float | None


class FlowMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Flow of a workspace or a project over the days from `first_day` to `last_day`, both included, as of `position`.

    `earliest_day` and `latest_day` are the first and the last on which anything happened there, null where nothing
    did: the span may be a part of that. `lead_time.count` is the sum of the days' `completed`, and that of `cycle_time.count`
    and `completed_without_start`.
    """

    first_day: date
    last_day: date
    earliest_day: date | None
    latest_day: date | None
    position: int
    lead_time: Percentiles
    cycle_time: Percentiles
    completed_without_start: int
    days: list[FlowDay]


_DAYS: Final = (
    "SELECT d::date, "
    + ", ".join(f"coalesce(f.{name}, 0)" for name in _COUNTS[:-2])
    + ", (b.open + sum(coalesce(f.open_change, 0)) OVER (ORDER BY d))::bigint, "
    "(b.in_progress + sum(coalesce(f.in_progress_change, 0)) OVER (ORDER BY d))::bigint "
    "FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS d "
    "CROSS JOIN (SELECT coalesce(sum(open_change), 0) AS open, coalesce(sum(in_progress_change), 0) AS in_progress "
    "FROM flow_daily WHERE workspace_id = %(workspace)s AND scope = %(scope)s AND day < %(first)s) b "
    "LEFT JOIN flow_daily f ON f.workspace_id = %(workspace)s AND f.scope = %(scope)s AND f.day = d::date ORDER BY d"
).encode()


class FlowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose flow: a workspace's, or that of one of its projects; and of which days, see `span`."""

    workspace_id: UUID
    project: UUID | None = None
    first_day: date | None = None
    last_day: date | None = None


async def flow_metrics(connection: psycopg.AsyncConnection[Any], query: FlowQuery, today: date) -> FlowMetrics:
    """The flow metrics; days without events are included with what was open then."""
    workspace_id, scope = query.workspace_id, query.project or query.workspace_id
    async with connection.transaction():
        # The locks come before the snapshot: a rebuild that switches in between would leave it with rows that it cannot see.
        await connection.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            "LOCK TABLE flow_daily, flow_completions IN ACCESS SHARE MODE"
        )
        cursor = await connection.execute(
            "SELECT c.position, d.earliest, d.latest FROM checkpoints c CROSS JOIN (SELECT min(day) AS earliest, "
            "max(day) AS latest FROM flow_daily WHERE workspace_id = %s AND scope = %s) d WHERE c.projection = 'flow'",
            (workspace_id, scope),
        )
        position, earliest, latest = await cursor.fetchone() or (0, None, None)
        first, last = span(query.first_day, query.last_day, earliest or today, latest or today)
        places = {"first": first, "last": last, "workspace": workspace_id, "scope": scope, "project": query.project}
        cursor = await connection.execute(_DAYS, places)
        days = [FlowDay(**dict(zip(FlowDay.__struct_fields__, row, strict=True))) for row in await cursor.fetchall()]
        lead = await _percentiles(connection, "lead_seconds", places)
        cycle = await _percentiles(connection, "cycle_seconds", places)
    return FlowMetrics(
        first_day=first,
        last_day=last,
        earliest_day=earliest,
        latest_day=latest,
        position=position,
        lead_time=lead,
        cycle_time=cycle,
        completed_without_start=lead.count - cycle.count,
        days=days,
    )


def span(first: date | None, last: date | None, earliest: date, latest: date) -> tuple[date, date]:
    """The days that an answer covers: those asked for. What is left open reaches to where anything happened in the workspace,
    within DAYS_MAX days: the newest ones, or those that follow a given first one."""
    if first is not None and last is not None:
        return first, last
    if first is not None:
        end = min(max(latest, first).toordinal(), first.toordinal() + DAYS_MAX - 1)
        return first, date.fromordinal(end)
    last = last or latest
    return date.fromordinal(max(min(earliest, last).toordinal(), last.toordinal() - DAYS_MAX + 1)), last


async def _percentiles(connection: psycopg.AsyncConnection[Any], column: str, places: Mapping[str, object]) -> Percentiles:
    of_project = "" if places["project"] is None else "AND project_id = %(project)s "
    cursor = await connection.execute(
        f"SELECT count({column}), percentile_disc(ARRAY[0.5, 0.85, 0.95]) WITHIN GROUP (ORDER BY {column}) "
        f"FROM flow_completions WHERE workspace_id = %(workspace)s {of_project}AND completed_at >= %(first)s::date "
        "AND completed_at < %(last)s::date + 1".encode(),
        places,
    )
    row = await cursor.fetchone()
    count, values = row if row else (0, None)
    return Percentiles(count, *(values or (None, None, None)))
