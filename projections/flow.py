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
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, assert_never
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
    TaskEstimateCleared,
    TaskEstimateSet,
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
from projections.tables.columns import Columns
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
_OF_DAYS: Final = Columns(
    ("workspace_id", "uuid"), ("scope", "uuid"), ("day", "date"), *((name, "integer") for name in _COUNTS)
)
_ADD_DAYS: Final = (
    f"INSERT INTO flow_daily ({_OF_DAYS.listed}) SELECT * FROM {_OF_DAYS.unnested} "
    "ON CONFLICT (workspace_id, scope, day) DO UPDATE SET "
    + ", ".join(f"{name} = flow_daily.{name} + excluded.{name}" for name in _COUNTS)
).encode()
_OF_COMPLETIONS: Final = Columns(
    ("task_id", "uuid"),
    ("workspace_id", "uuid"),
    ("project_id", "uuid"),
    ("completed_at", "timestamptz"),
    ("lead_seconds", "float8"),
    ("cycle_seconds", "float8"),
)
_ADD_COMPLETIONS: Final = (
    f"INSERT INTO flow_completions ({_OF_COMPLETIONS.listed}) SELECT * FROM {_OF_COMPLETIONS.unnested} "
    "ON CONFLICT (task_id) DO UPDATE SET project_id = excluded.project_id, completed_at = excluded.completed_at, "
    "lead_seconds = excluded.lead_seconds, cycle_seconds = excluded.cycle_seconds"
).encode()


_Place = tuple[UUID, UUID, date]
"""A workspace, it or one of its projects, and a day."""

_Days = dict[_Place, Counter[str]]


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
        moved: dict[UUID, tuple[datetime | None, TaskDocument]] = {}
        for change in changes:
            after, counted = change.after, _counted(known(change.record.event))
            before, now = _standing(change.before), _standing(after)
            if counted is None and before == now:
                continue
            _count(days, after, counted, before, now)
            if _stands_otherwise(before, now):
                moved[after.id] = now.completed, after
        if days:
            rows = [(*key, *(counts[name] for name in _COUNTS)) for key, counts in sorted(days.items())]
            connection.execute(_ADD_DAYS, _OF_DAYS.arrays(rows))
        if moved:
            _write_completions(connection, moved)

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[Sequence[TaskChange]]) -> None:
        """Nothing to do: what is counted and measured here, types and envelopes tell, and those stay."""


class _Standing(NamedTuple):
    """What a task counts for: whether it is open, and under way, as 0 or 1; when it was completed, if it stands so; where."""

    open: int
    under_way: int
    completed: datetime | None
    project: UUID | None


_NOWHERE: Final = _Standing(0, 0, None, None)


def _standing(document: TaskDocument | None) -> _Standing:
    if document is None:
        return _NOWHERE
    task = document.task
    if task.deleted:
        return _Standing(0, 0, None, task.project_id)
    is_open = int(task.status in ("open", "in_progress"))
    completed = document.clock.completed if task.status == "completed" else None
    return _Standing(is_open, int(is_open and document.clock.underway), completed, task.project_id)


def _stands_otherwise(before: _Standing, now: _Standing) -> bool:
    """Whether a task is completed that was not, or the other way round, or at another time or elsewhere."""
    return before.completed != now.completed or (now.completed is not None and before.project != now.project)


def _count(days: _Days, document: TaskDocument, counted: str | None, before: _Standing, now: _Standing) -> None:
    """For the workspace and for each project that it concerns, what changed there."""
    workspace, day = document.workspace_id, document.clock.latest.date()
    _count_in(days, (workspace, workspace, day), counted, before, now)
    if before.project == now.project:
        if now.project is not None:
            _count_in(days, (workspace, now.project, day), counted, before, now)
        return
    if before.project is not None:
        _count_in(days, (workspace, before.project, day), None, before, _NOWHERE)
    if now.project is not None:
        _count_in(days, (workspace, now.project, day), counted, _NOWHERE, now)


def _count_in(days: _Days, place: _Place, counted: str | None, before: _Standing, now: _Standing) -> None:
    opened, begun = now.open - before.open, now.under_way - before.under_way
    if counted or opened or begun:
        day = days[place]
        if counted:
            day[counted] += 1
        day["open_change"] += opened
        day["in_progress_change"] += begun
    if before.completed != now.completed:
        if before.completed:
            days[*place[:2], before.completed.date()]["completed"] -= 1
        if now.completed:
            days[*place[:2], now.completed.date()]["completed"] += 1


def _write_completions(connection: psycopg.Connection[Any], moved: Mapping[UUID, tuple[datetime | None, TaskDocument]]) -> None:
    gone = [task_id for task_id, (at, _) in moved.items() if at is None]
    standing = [(document, at) for at, document in moved.values() if at is not None]
    if gone:
        connection.execute("DELETE FROM flow_completions WHERE task_id = ANY(%b)", (gone,))
    if standing:
        connection.execute(_ADD_COMPLETIONS, _OF_COMPLETIONS.arrays(_completion(document, at) for document, at in standing))


def _completion(document: TaskDocument, at: datetime) -> tuple[object, ...]:
    clock = document.clock
    return (
        document.id,
        document.workspace_id,
        document.task.project_id,
        at,
        (at - clock.created).total_seconds(),
        (at - clock.started).total_seconds() if clock.started else None,
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
            | TaskEstimateSet()
            | TaskEstimateCleared()
            | TaskStopped()
            | TaskRestored()
            | TaskMoved()
            | TaskActivityLogged()
        ):
            return None
        case _:
            assert_never(event)


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
