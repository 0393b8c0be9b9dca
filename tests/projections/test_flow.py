"""flow: the definitions in its docstring, checked against a second, plain computation."""

import random
from datetime import UTC, date, datetime, timedelta
from math import ceil

from domain.task_events import (
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskReopened,
    TaskRestored,
    TaskStarted,
)
from projections.flow import FlowDay, FlowMetrics, Percentiles, flow_metrics, flow_span
from tests.log_world import ELSEWHERE, HOME, World, number

MONDAY = date(2024, 1, 1)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
TASK = number(1)


def happened(world: World, task: int, event: TaskEvent, days: float) -> None:
    """An event so many days after Monday noon."""
    world.record(number(task), event, at=NOON + timedelta(days=days))


def metrics(world: World, first: date = MONDAY, days: int = 10) -> FlowMetrics:
    world.project()
    return world.ask(lambda connection: flow_metrics(connection, HOME, first, first + timedelta(days=days - 1)))


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
        (0, 0, 1, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 1, 1),
        (0, 0, 0, 1, 0, 0, 2, 1),
        (0, 0, 0, 0, 0, 0, 2, 1),
    ]
    assert [d.day for d in found.days] == [MONDAY + timedelta(days=n) for n in range(9)]
    assert found.position == 10


def test_a_window_starts_from_what_was_open_before_it(world: World) -> None:
    happened(world, 1, TaskCreated("A"), -40)
    happened(world, 1, TaskStarted(), -30)
    happened(world, 2, TaskCreated("B"), -20)
    happened(world, 3, TaskCreated("Not yet"), 50)
    found = metrics(world, days=3)
    assert [(d.created, d.open, d.in_progress) for d in found.days] == [(0, 2, 1)] * 3


def test_a_completion_taken_back_stays_a_fact_of_its_day_and_leaves_the_times(world: World) -> None:
    for event, at in (
        (TaskCreated("A"), 0),
        (TaskStarted(), 1),
        (TaskCompleted(), 2),
        (TaskReopened(), 3),
        (TaskCompleted(), 6),
    ):
        happened(world, 1, event, at)
    found = metrics(world)
    assert [d.completed for d in found.days] == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert found.lead_time == Percentiles(1, *(3 * [6 * 86400.0]))
    assert found.cycle_time == Percentiles(1, *(3 * [5 * 86400.0]))


def test_imported_events_count_on_the_days_when_they_happened_in_utc(world: World) -> None:
    late = datetime(2024, 1, 1, 23, 30, tzinfo=UTC)
    world.record(TASK, TaskCreated("A"), at=late)
    world.record(TASK, TaskStarted(), at=late + timedelta(hours=1))
    found = metrics(world, days=2)
    assert [(d.created, d.started) for d in found.days] == [(1, 0), (0, 1)]


def test_the_span_is_from_the_first_to_the_last_day_of_the_workspace(world: World) -> None:
    happened(world, 1, TaskCreated("A"), 3)
    happened(world, 1, TaskStarted(), 8)
    world.record(number(2), TaskCreated("B"), workspace=ELSEWHERE, at=NOON - timedelta(days=99))
    world.project()
    assert world.ask(lambda connection: flow_span(connection, HOME)) == (MONDAY + timedelta(3), MONDAY + timedelta(8))
    assert world.ask(lambda connection: flow_span(connection, number(77))) is None


def test_another_workspaces_flow_is_not_counted(world: World) -> None:
    world.record(number(2), TaskCreated("B"), TaskStarted(), TaskCompleted(), workspace=ELSEWHERE, at=NOON)
    found = metrics(world, days=1)
    assert found.days == [FlowDay(MONDAY, 0, 0, 0, 0, 0, 0, 0, 0)]
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


def test_taking_back_twice_keeps_the_first_time_in_batches_of_any_size(world: World) -> None:
    """A task may be reopened from cancelled, too: that takes no completion back."""
    events = (TaskCompleted(), TaskReopened(), TaskCancelled(), TaskReopened(), TaskCancelled(), TaskReopened())
    happened(world, 1, TaskCreated("A"), 0)
    for n, event in enumerate(events, 1):
        happened(world, 1, event, n)
    for batch in (1, 2, 3, 5, 500):
        world.forget_read_models()
        world.project(batch)
        row = world.connection.execute("SELECT reopened_at FROM flow_completions").fetchall()
        assert row == [(NOON + timedelta(days=2),)], batch
