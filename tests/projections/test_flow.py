"""flow: the definitions in its docstring, checked against a second, plain computation."""

import random
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.task.events import (
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskMoved,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
)
from projections.engine.projector import Projector
from projections.flow import DAYS_MAX, FlowDay, FlowMetrics, FlowQuery, Percentiles, flow_metrics, span
from projections.task.document import TaskRecord
from tests.log_world import ELSEWHERE, HOME, World, number

MONDAY = date(2024, 1, 1)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
TASK = number(1)
HERE, THERE = number(901), number(902)


def happened(world: World, task: int, event: TaskEvent, days: float) -> None:
    """An event so many days after Monday noon."""
    world.record(number(task), event, at=NOON + timedelta(days=days))


def metrics(world: World, first: date = MONDAY, days: int = 10, project: UUID | None = None) -> FlowMetrics:
    world.project()
    last = first + timedelta(days=days - 1)
    query = FlowQuery(workspace_id=HOME, project=project, first_day=first, last_day=last)
    return world.ask(lambda connection: flow_metrics(connection, query, MONDAY))


def day(found: FlowMetrics, number_: int) -> FlowDay:
    return found.days[number_]


def test_lead_time_runs_from_creation_and_cycle_time_from_the_first_start(world: World) -> None:
    for event, at in ((TaskCreated("A"), 0), (TaskStarted(), 1), (TaskCompleted(), 4)):
        happened(world, 1, event, at)
    found = metrics(world)
    assert found.lead_time == Percentiles(1, *(3 * [4 * 86400.0]))
    assert found.cycle_time == Percentiles(1, *(3 * [3 * 86400.0]))


def test_a_task_completed_without_a_start_has_no_cycle_time(world: World) -> None:
    happened(world, 1, TaskCreated("A"), 0)
    happened(world, 1, TaskCompleted(), 1)
    found = metrics(world)
    assert found.lead_time.count == 1
    assert found.cycle_time == Percentiles(0, None, None, None)
    assert found.completed_without_start == 1


def test_days_count_what_happened_and_what_was_open_at_their_ends(world: World) -> None:
    for task, event, at in (
        (1, TaskCreated("A"), 0),
        (1, TaskStarted(), 1),
        (2, TaskCreated("B"), 1),
        (2, TaskCancelled(), 2),
        (3, TaskCreated("C"), 2),
        (3, TaskStarted(), 2),
        (3, TaskDeleted(), 3),
        (1, TaskCompleted(), 5),
        (3, TaskRestored(), 6),
        (1, TaskReopened(), 7),
    ):
        happened(world, task, event, at)
    found = metrics(world, days=9)
    told = [(d.created, d.started, d.completed, d.reopened, d.cancelled, d.deleted, d.open, d.in_progress) for d in found.days]
    assert told == [
        (1, 0, 0, 0, 0, 0, 1, 0),
        (1, 1, 0, 0, 0, 0, 2, 1),
        (1, 1, 0, 0, 1, 0, 2, 2),
        (0, 0, 0, 0, 0, 1, 1, 1),
        (0, 0, 0, 0, 0, 0, 1, 1),
        (0, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 1, 1),
        (0, 0, 0, 1, 0, 0, 2, 2),
        (0, 0, 0, 0, 0, 0, 2, 2),
    ]
    assert [d.completion_events for d in found.days] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert [d.day for d in found.days] == [MONDAY + timedelta(days=n) for n in range(9)]
    assert found.position == 10


def test_a_window_starts_from_what_was_open_before_it(world: World) -> None:
    happened(world, 1, TaskCreated("A"), -40)
    happened(world, 1, TaskStarted(), -30)
    happened(world, 2, TaskCreated("B"), -20)
    happened(world, 3, TaskCreated("Not yet"), 50)
    found = metrics(world, days=3)
    assert [(d.created, d.open, d.in_progress) for d in found.days] == [(0, 2, 1)] * 3


def test_a_completion_taken_back_leaves_throughput_and_times_and_stays_an_event(world: World) -> None:
    for event, at in (
        (TaskCreated("A"), 0),
        (TaskStarted(), 1),
        (TaskCompleted(), 2),
        (TaskReopened(), 3),
        (TaskCompleted(), 6),
    ):
        happened(world, 1, event, at)
    found = metrics(world)
    assert [d.completed for d in found.days] == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert [d.completion_events for d in found.days] == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert found.lead_time == Percentiles(1, *(3 * [6 * 86400.0]))
    assert found.cycle_time == Percentiles(1, *(3 * [5 * 86400.0]))


def test_deleting_and_restoring_a_completed_task_moves_the_numbers(world: World) -> None:
    for event, at in ((TaskCreated("A"), 0), (TaskCompleted(), 2)):
        happened(world, 1, event, at)
    assert [d.completed for d in metrics(world).days][:4] == [0, 0, 1, 0]
    happened(world, 1, TaskDeleted(), 3)
    found = metrics(world)
    assert (sum(d.completed for d in found.days), found.lead_time.count, found.completed_without_start) == (0, 0, 0)
    happened(world, 1, TaskRestored(), 4)
    found = metrics(world)
    assert [d.completed for d in found.days][:4] == [0, 0, 1, 0]
    assert (found.lead_time.count, found.completed_without_start) == (1, 1)


def test_stopped_work_is_not_in_progress_and_reopened_work_is(world: World) -> None:
    for event, at in (
        (TaskCreated("A"), 0),
        (TaskStarted(), 1),
        (TaskStopped(), 2),
        (TaskStarted(), 3),
        (TaskCompleted(), 4),
        (TaskReopened(), 5),
    ):
        happened(world, 1, event, at)
    found = metrics(world, days=7)
    assert [d.in_progress for d in found.days] == [0, 1, 0, 1, 0, 1, 1]
    assert [d.open for d in found.days] == [1, 1, 1, 1, 0, 1, 1]


def test_what_is_dated_in_the_future_counts_when_it_was_recorded(world: World) -> None:
    world.record(TASK, TaskCreated("A typing error in the year"), at=datetime(2091, 3, 2, tzinfo=UTC))
    world.record(TASK, TaskStarted())
    world.record(TASK, TaskCompleted())
    today = datetime.now(UTC).date()
    found = metrics(world, today - timedelta(days=1), 3)
    assert all(d.open >= 0 and d.in_progress >= 0 for d in found.days)
    assert (sum(d.created for d in found.days), sum(d.completed for d in found.days)) == (1, 1)
    assert found.lead_time.p50 is not None
    assert 0 <= found.lead_time.p50 < 86400


def test_imported_events_count_on_the_days_when_they_happened_in_utc(world: World) -> None:
    late = datetime(2024, 1, 1, 23, 30, tzinfo=UTC)
    world.record(TASK, TaskCreated("A"), at=late)
    world.record(TASK, TaskStarted(), at=late + timedelta(hours=1))
    found = metrics(world, days=2)
    assert [(d.created, d.started) for d in found.days] == [(1, 0), (0, 1)]


def test_the_span_is_told_and_so_is_that_of_the_whole_workspace(world: World) -> None:
    happened(world, 1, TaskCreated("A"), 3)
    happened(world, 1, TaskStarted(), 8)
    world.record(number(2), TaskCreated("B"), workspace=ELSEWHERE, at=NOON - timedelta(days=99))
    world.project()
    found = world.ask(lambda connection: flow_metrics(connection, FlowQuery(workspace_id=HOME), MONDAY))
    third, eighth = MONDAY + timedelta(3), MONDAY + timedelta(8)
    assert (found.first_day, found.last_day, found.earliest_day, found.latest_day) == (third, eighth, third, eighth)
    part = metrics(world, MONDAY + timedelta(4), 2)
    assert (part.first_day, part.earliest_day, part.latest_day) == (MONDAY + timedelta(4), third, eighth)
    nothing = world.ask(lambda connection: flow_metrics(connection, FlowQuery(workspace_id=number(77)), MONDAY))
    assert (nothing.first_day, nothing.last_day, nothing.earliest_day, nothing.latest_day) == (MONDAY, MONDAY, None, None)


LONG_AGO, NOW = date(1970, 1, 1), date(2026, 3, 4)
MOST = timedelta(days=DAYS_MAX - 1)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, (NOW - MOST, NOW)),
        (LONG_AGO, None, (LONG_AGO, LONG_AGO + MOST)),
        (None, LONG_AGO + timedelta(9), (LONG_AGO, LONG_AGO + timedelta(9))),
        (None, date.min, (date.min, date.min)),
        (date.max, None, (date.max, date.max)),
        (NOW + timedelta(9), None, (NOW + timedelta(9), NOW + timedelta(9))),
        (LONG_AGO, NOW, (LONG_AGO, NOW)),
    ],
)
def test_what_is_left_open_of_a_span_is_bounded(first: date | None, last: date | None, expected: tuple[date, date]) -> None:
    assert span(first, last, LONG_AGO, NOW) == expected


def test_a_task_that_is_moved_takes_its_completion_with_it_and_leaves_its_events(world: World) -> None:
    world.record(TASK, TaskCreated("A", project_id=HERE), TaskStarted(), TaskCompleted(), TaskMoved(HERE, THERE), at=NOON)
    here, there, whole = metrics(world, project=HERE), metrics(world, project=THERE), metrics(world)
    for found, created, completed, events in ((here, 1, 0, 1), (there, 0, 1, 0), (whole, 1, 1, 1)):
        first = day(found, 0)
        assert (first.created, first.completed, first.completion_events) == (created, completed, events)
        assert (found.lead_time.count, first.open) == (completed, 0)


def test_another_workspaces_flow_is_not_counted(world: World) -> None:
    world.record(number(2), TaskCreated("B"), TaskStarted(), TaskCompleted(), workspace=ELSEWHERE, at=NOON)
    found = metrics(world, days=1)
    assert found.days == [FlowDay(day=MONDAY, **dict.fromkeys(FlowDay.__struct_fields__[1:], 0))]
    assert found.lead_time.count == 0


def _smallest_not_exceeded_by(percent: int, values: list[float]) -> float:
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def test_percentiles_are_observed_values_as_defined(world: World) -> None:
    chance = random.Random(7)
    for count in (1, 2, 7, 20, 101):
        world.forget_read_models()
        first = world.head()
        leads = [chance.uniform(0.1, 5.0) for _ in range(count)]
        for n, lead in enumerate(leads):
            task = first + n + 1
            created = NOON + timedelta(days=10 * count)
            world.record(number(task), TaskCreated("A"), at=created)
            world.record(number(task), TaskStarted(), at=created + timedelta(days=lead / 2))
            world.record(number(task), TaskCompleted(), at=created + timedelta(days=lead))
        found = metrics(world, (NOON + timedelta(days=10 * count)).date(), days=7)
        seconds = [timedelta(days=lead).total_seconds() for lead in leads]
        assert found.lead_time == Percentiles(count, *(_smallest_not_exceeded_by(p, seconds) for p in (50, 85, 95)))
        halves = [timedelta(days=lead / 2) for lead in leads]
        cycles = [second - half.total_seconds() for second, half in zip(seconds, halves, strict=True)]
        assert found.cycle_time.count == count
        for value, percent in ((found.cycle_time.p50, 50), (found.cycle_time.p85, 85), (found.cycle_time.p95, 95)):
            assert value is not None
            assert abs(value - _smallest_not_exceeded_by(percent, cycles)) < 1e-5


KINDS: tuple[TaskEvent, ...] = (
    TaskStarted(),
    TaskStopped(),
    TaskCompleted(),
    TaskReopened(),
    TaskCancelled(),
    TaskDeleted(),
    TaskRestored(),
    TaskRenamed("Another title"),
    TaskMoved(None, HERE),
    TaskMoved(None, THERE),
)
Steps = list[tuple[int, int, float | None]]
STEPS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, len(KINDS) - 1),
        st.none() | st.floats(-3, 12).map(lambda day: round(day, 2)) | st.just(24_000.0),
    ),
    min_size=1,
    max_size=25,
)


@pytest.fixture
def projector(world: World) -> Projector:
    return world.tables()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, batch=st.sampled_from((1, 3, 500)))
def test_any_history_is_measured_as_a_second_computation_does(
    world: World, projector: Projector, steps: Steps, batch: int
) -> None:
    """Any events in any order at any time (also none that rules allow), against the definitions read once more."""
    workspace, tasks = uuid4(), {n: uuid4() for n in (1, 2, 3)}
    for task in sorted({step[0] for step in steps}):
        world.record(tasks[task], TaskCreated("T"), workspace=workspace, at=NOON)
    for task, kind, day_ in steps:
        at = None if day_ is None else NOON + timedelta(days=day_)
        world.record(tasks[task], KINDS[kind], workspace=workspace, at=at)
    while projector.advance(batch):
        pass
    own = [record for record in world.records() if record.workspace_id == workspace]
    for project in (None, HERE, THERE):
        _hold_against_definitions(world, own, workspace, project)


def _hold_against_definitions(world: World, own: list[TaskRecord], workspace: UUID, project: UUID | None) -> None:
    today = datetime.now(UTC).date()
    for first, last in ((MONDAY - timedelta(days=4), MONDAY + timedelta(days=14)), (MONDAY, today + timedelta(days=1))):
        query = FlowQuery(workspace_id=workspace, project=project, first_day=first, last_day=last)
        found = world.ask(partial(flow_metrics, query=query, today=today))
        expected = _computed(own, first, last, project)
        assert {d.day: (d.completed, d.completion_events, d.open, d.in_progress) for d in found.days} == expected.days
        assert (found.lead_time.count, found.cycle_time.count) == (len(expected.leads), len(expected.cycles))
        assert sum(d.completed for d in found.days) == found.lead_time.count
        assert found.completed_without_start == len(expected.leads) - len(expected.cycles)
        assert all(d.open >= d.in_progress >= 0 for d in found.days)
        for percentiles, seconds in ((found.lead_time, expected.leads), (found.cycle_time, expected.cycles)):
            for value, percent in ((percentiles.p50, 50), (percentiles.p85, 85), (percentiles.p95, 95)):
                assert value == (_smallest_not_exceeded_by(percent, seconds) if seconds else None)
                assert value is None or value >= 0


class _Expected(NamedTuple):
    days: dict[date, tuple[int, int, int, int]]
    leads: list[float]
    cycles: list[float]


def _computed(records: list[TaskRecord], first: date, last: date, project: UUID | None) -> _Expected:
    """By the definitions alone: each day's end is looked at by itself, from every task's events up to then."""
    lives: dict[UUID, list[tuple[datetime, str]]] = {}
    places: dict[UUID, list[UUID | None]] = {}
    for record in records:
        life, place = lives.setdefault(record.stream_id, []), places.setdefault(record.stream_id, [])
        at = min(record.effective_at or record.recorded_at, record.recorded_at)
        life.append((max(at, life[-1][0]) if life else at, type(record.event).__name__))
        event = record.event
        place.append(event.to_project if isinstance(event, TaskMoved) else place[-1] if place else None)
    all_days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    days = {day: [0, 0, 0, 0] for day in all_days}
    leads, cycles = [], []
    for task, life in lives.items():
        inside = [project in (None, place) for place in places[task]]
        for (at, kind), is_inside in zip(life, inside, strict=True):
            if kind == "TaskCompleted" and at.date() in days and is_inside:
                days[at.date()][1] += 1
        if (done := _stands_completed(life)) and done.date() in days and inside[-1]:
            days[done.date()][0] += 1
            leads.append((done - life[0][0]).total_seconds())
            starts = [at for at, kind in life if kind == "TaskStarted"]
            if starts:
                cycles.append((done - starts[0]).total_seconds())
        for day in all_days:
            kinds = [kind for at, kind in life if at.date() <= day]
            if kinds and inside[len(kinds) - 1]:
                days[day][2] += _open(kinds)
                days[day][3] += _open(kinds) and _begun(kinds)
    return _Expected({day: (a, b, c, d) for day, (a, b, c, d) in days.items()}, leads, cycles)


def _last_of(kinds: list[str], *wanted: str) -> str:
    return next((kind for kind in reversed(kinds) if kind in wanted), "")


def _open(kinds: list[str]) -> bool:
    status = _last_of(kinds, "TaskCreated", "TaskStarted", "TaskStopped", "TaskCompleted", "TaskReopened", "TaskCancelled")
    deleted = _last_of(kinds, "TaskDeleted", "TaskRestored") == "TaskDeleted"
    return status not in {"", "TaskCompleted", "TaskCancelled"} and not deleted


def _begun(kinds: list[str]) -> bool:
    return _last_of(kinds, "TaskStarted", "TaskStopped") == "TaskStarted"


def _stands_completed(life: list[tuple[datetime, str]]) -> datetime | None:
    kinds = [kind for _, kind in life]
    status = _last_of(kinds, "TaskStarted", "TaskStopped", "TaskCompleted", "TaskReopened", "TaskCancelled")
    if status != "TaskCompleted" or _last_of(kinds, "TaskDeleted", "TaskRestored") == "TaskDeleted":
        return None
    return max(at for at, kind in life if kind == "TaskCompleted")
