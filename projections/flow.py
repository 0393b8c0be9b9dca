"""Read model `flow` (Postgres): daily flow counts and completion facts, from which the flow metrics are computed.

Definitions, as in the Kanban literature (Vacanti, Actionable Agile Metrics): *lead time* runs from creation to completion,
*cycle time* from the first start to completion, *work in progress* counts tasks that are started and neither completed nor
cancelled nor deleted. Days are UTC; a percentile is the smallest observed value that at least so many percent do not exceed.
A completion that is taken back by reopening stays a fact of its day, and is left out of the times from then on.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, assert_never
from uuid import UUID

import msgspec
import psycopg

from domain.task_events import (
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
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)
from projections.changes import Change
from projections.task_document import TaskDocument

_COUNTS: Final = (
    "created",
    "started",
    "completed",
    "reopened",
    "cancelled",
    "deleted",
    "open_change",
    "in_progress_change",
)
_ADD_DAYS: Final = (
    f"INSERT INTO flow_daily (workspace_id, day, {', '.join(_COUNTS)}) "
    f"SELECT * FROM unnest(%b::uuid[], %b::date[], {', '.join(['%b::integer[]'] * len(_COUNTS))}) "
    "ON CONFLICT (workspace_id, day) DO UPDATE SET "
    + ", ".join(f"{name} = flow_daily.{name} + excluded.{name}" for name in _COUNTS)
).encode()


class Flow:
    """The projection."""

    name: Final = "flow"
    tables: Final = ("flow_daily", "flow_completions")

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        """Add the changes' counts to their days, and their completions and reopenings to the facts."""
        days: dict[tuple[UUID, date], list[int]] = defaultdict(lambda: [0] * len(_COUNTS))
        facts: list[Change] = []
        for change in changes:
            counted = _counted(change.record.event)
            opened = _is_open(change.after) - _is_open(change.before)
            begun = _is_in_progress(change.after) - _is_in_progress(change.before)
            if counted or opened or begun:
                day = days[change.record.workspace_id, change.record.happened_at.date()]
                if counted:
                    day[_COUNTS.index(counted)] += 1
                day[6] += opened
                day[7] += begun
            if isinstance(change.record.event, TaskCompleted | TaskReopened):
                facts.append(change)
        if days:
            rows = [(workspace, day, *counts) for (workspace, day), counts in sorted(days.items())]
            connection.execute(_ADD_DAYS, tuple(list(column) for column in zip(*rows, strict=True)))
        self._apply_facts(connection, facts)

    def _apply_facts(self, connection: psycopg.Connection[Any], facts: list[Change]) -> None:
        completions: dict[UUID, list[tuple[object, ...]]] = defaultdict(list)
        reopened_before: dict[UUID, datetime] = {}
        for change in facts:
            task_id, at = change.record.stream_id, change.record.happened_at
            if isinstance(change.record.event, TaskCompleted):
                completions[task_id].append(_completion(change))
            elif not completions[task_id]:
                reopened_before.setdefault(task_id, at)
            elif completions[task_id][-1][-1] is None:
                # Only the first: reopening after a cancellation takes no completion back.
                completions[task_id][-1] = (*completions[task_id][-1][:-1], at)
        if reopened_before:
            connection.execute(
                "UPDATE flow_completions f SET reopened_at = r.at FROM unnest(%b::uuid[], %b::timestamptz[]) AS r(task_id, at) "
                "WHERE f.task_id = r.task_id AND f.reopened_at IS NULL",
                (list(reopened_before), list(reopened_before.values())),
            )
        rows = [row for task_rows in completions.values() for row in task_rows]
        if rows:
            connection.execute(
                "INSERT INTO flow_completions (position, workspace_id, task_id, completed_at, lead_seconds, cycle_seconds, "
                "reopened_at) SELECT * FROM unnest(%b::bigint[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::float8[], "
                "%b::float8[], %b::timestamptz[])",
                tuple(list(column) for column in zip(*rows, strict=True)),
            )


def _completion(change: Change) -> tuple[object, ...]:
    record, after = change.record, change.after
    at = record.happened_at
    cycle = (at - after.started_at).total_seconds() if after.started_at else None
    return (
        record.position,
        record.workspace_id,
        record.stream_id,
        at,
        (at - after.created_at).total_seconds(),
        cycle,
        None,
    )


def _counted(event: TaskEvent) -> str | None:  # noqa: PLR0911 - one table, one line an entry
    match event:
        case TaskCreated():
            return "created"
        case TaskStarted():
            return "started"
        case TaskCompleted():
            return "completed"
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
            | TaskActivityLogged()
        ):
            return None
        case _:
            assert_never(event)


def _is_open(document: TaskDocument | None) -> int:
    return int(document is not None and not document.task.deleted and document.task.status in ("open", "in_progress"))


def _is_in_progress(document: TaskDocument | None) -> int:
    return int(document is not None and not document.task.deleted and document.task.status == "in_progress")


class FlowDay(msgspec.Struct, frozen=True, gc=False):
    """One UTC day: what happened on it, and how many tasks were open and in progress at its end."""

    day: date
    created: int
    started: int
    completed: int
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


class FlowMetrics(msgspec.Struct, frozen=True):
    """Flow of a workspace over the days from `first_day` to `last_day`, both included, as of `position`."""

    first_day: date
    last_day: date
    position: int
    lead_time: Percentiles
    cycle_time: Percentiles
    days: list[FlowDay]


async def flow_metrics(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, first_day: date, last_day: date
) -> FlowMetrics:
    """The flow metrics of a workspace; days without events are included with what was open then."""
    async with connection.transaction():
        # The locks come before the snapshot: a rebuild that switches in between would leave it with rows that it cannot see.
        await connection.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            "LOCK TABLE flow_daily, flow_completions IN ACCESS SHARE MODE"
        )
        position = await _value(connection, "SELECT position FROM checkpoints WHERE projection = 'flow'", ())
        cursor = await connection.execute(
            "SELECT d::date, coalesce(f.created, 0), coalesce(f.started, 0), coalesce(f.completed, 0), "
            "coalesce(f.reopened, 0), coalesce(f.cancelled, 0), coalesce(f.deleted, 0), "
            "(b.open + sum(coalesce(f.open_change, 0)) OVER (ORDER BY d))::bigint, "
            "(b.in_progress + sum(coalesce(f.in_progress_change, 0)) OVER (ORDER BY d))::bigint "
            "FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS d "
            "CROSS JOIN (SELECT coalesce(sum(open_change), 0) AS open, coalesce(sum(in_progress_change), 0) AS in_progress "
            "FROM flow_daily WHERE workspace_id = %(workspace)s AND day < %(first)s) b "
            "LEFT JOIN flow_daily f ON f.workspace_id = %(workspace)s AND f.day = d::date ORDER BY d",
            {"first": first_day, "last": last_day, "workspace": workspace_id},
        )
        days = [
            FlowDay(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8]) for row in await cursor.fetchall()
        ]
        lead = await _percentiles(connection, "lead_seconds", workspace_id, first_day, last_day)
        cycle = await _percentiles(connection, "cycle_seconds", workspace_id, first_day, last_day)
    return FlowMetrics(first_day, last_day, position, lead, cycle, days)


async def flow_span(connection: psycopg.AsyncConnection[Any], workspace_id: UUID) -> tuple[date, date] | None:
    """The first and last day on which anything happened in the workspace."""
    cursor = await connection.execute("SELECT min(day), max(day) FROM flow_daily WHERE workspace_id = %s", (workspace_id,))
    row = await cursor.fetchone()
    return (row[0], row[1]) if row and row[0] else None


async def _percentiles(
    connection: psycopg.AsyncConnection[Any], column: str, workspace_id: UUID, first_day: date, last_day: date
) -> Percentiles:
    cursor = await connection.execute(
        f"SELECT count({column}), percentile_disc(ARRAY[0.5, 0.85, 0.95]) WITHIN GROUP (ORDER BY {column}) "
        "FROM flow_completions WHERE workspace_id = %s AND reopened_at IS NULL AND completed_at >= %s::date "
        "AND completed_at < %s::date + 1".encode(),
        (workspace_id, first_day, last_day),
    )
    row = await cursor.fetchone()
    count, values = row if row else (0, None)
    return Percentiles(count, *(values or (None, None, None)))


async def _value(connection: psycopg.AsyncConnection[Any], query: str, parameters: tuple[object, ...]) -> int:
    cursor = await connection.execute(query.encode(), parameters)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
