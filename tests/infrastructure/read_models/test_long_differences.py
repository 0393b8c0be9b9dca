"""Comparisons of lists that are longer than what one answer looks at, or further apart than events are looked through for; and
tasks with longer histories than are read at once."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
import pytest

from domain.task.events import TaskActivityLogged, TaskCreated, TaskLabelAdded, TaskRenamed, TaskStarted
from infrastructure.log import time_travel
from infrastructure.log.rows import Record
from infrastructure.read_models.diff_reads import TaskDifference, differences
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task import list_diff
from projections.task.list_diff import Side
from projections.task.list_query import TaskQuery
from tests.log_world import HOME, World, number

Connection = psycopg.AsyncConnection[object]
TASKS = 30
EVERYTHING = Room(100)
BLUE = {1, 2, 12, 30}
BEGUN = {3, 12, 29}


@pytest.fixture
def touched(world: World) -> tuple[int, int]:
    """Thirty tasks, each of which something happens to between the two positions; to few of them something that is seen."""
    for task in range(1, TASKS + 1):
        world.record(number(task), TaskCreated(f"Task {task}"))
    begin = world.head()
    for task in range(1, TASKS + 1):
        # What is logged changes no field.
        event = TaskLabelAdded("blue") if task in BLUE else TaskActivityLogged(activity="seen")
        world.record(number(task), event)
    for task in BEGUN:
        world.record(number(task), TaskStarted())
    world.project()
    return begin, world.head()


def pages(world: World, sides: tuple[Side, Side], room: Room) -> list[list[TaskDifference]]:
    """All pages, one after the other."""

    async def ask(connection: Connection) -> list[list[TaskDifference]]:
        found: list[list[TaskDifference]] = []
        after: int | None = 0
        while after is not None:
            page = await differences(connection, HOME, sides, after, room)
            assert page.after is None or page.after > after
            found.append([msgspec.json.decode(item, type=TaskDifference) for item in page.items])
            after = page.after
        return found

    return world.ask(ask)


def sides_of(moments: tuple[int, int], first: TaskQuery, last: TaskQuery | None = None) -> tuple[Side, Side]:
    return Side(first, AsOf(moments[0])), Side(last or first, AsOf(moments[1]))


def tasks(found: list[TaskDifference]) -> list[int]:
    return [difference.task_id.int & 0xFFFF for difference in found]


def test_no_answer_looks_at_more_tasks_than_one_may(
    world: World, touched: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_diff, "LOOK", 5)
    found = pages(world, sides_of(touched, TaskQuery(label=("blue",))), EVERYTHING)
    # A page may hold no task and still lead on.
    assert [tasks(page) for page in found] == [[1, 2], [], [12], [], [], [30]]


def test_what_ends_with_the_last_task_that_is_looked_at_leads_nowhere(
    world: World, touched: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_diff, "LOOK", TASKS)
    assert [tasks(page) for page in pages(world, sides_of(touched, TaskQuery(label=("blue",))), EVERYTHING)] == [sorted(BLUE)]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tasks_that_were_touched_and_are_the_same_are_passed_over_within_a_page(
    world: World, touched: tuple[int, int], rows: int
) -> None:
    found = pages(world, sides_of(touched, TaskQuery()), Room(rows))
    assert [each for page in found for each in tasks(page)] == sorted(BLUE | BEGUN)
    assert all(len(page) == rows for page in found[:-1])


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("look", [3, 5, 11])
def test_what_one_answer_looks_at_and_what_it_shows_are_bounded_together(
    world: World, touched: tuple[int, int], rows: int, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_diff, "LOOK", look)
    found = pages(world, sides_of(touched, TaskQuery()), Room(rows))
    assert [each for page in found for each in tasks(page)] == sorted(BLUE | BEGUN)
    assert max(map(len, found)) <= rows


@pytest.mark.parametrize("rows", [2, 100])
@pytest.mark.parametrize("begin", [0, 10, TASKS])
def test_moments_far_apart_are_compared_like_near_ones(
    world: World, touched: tuple[int, int], begin: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = begin, touched[1]
    queries = TaskQuery(), TaskQuery(label=("blue",)), TaskQuery(status=("in_progress",)), TaskQuery(q="task")
    near = [pages(world, sides_of(moments, query), Room(rows)) for query in queries]
    monkeypatch.setattr(list_diff, "NEAR", touched[1] - begin - 1)
    assert near == [pages(world, sides_of(moments, query), Room(rows)) for query in queries]
    found = [sorted(each for page in answer for each in tasks(page)) for answer in near]
    everything = sorted(BLUE | BEGUN | set(range(begin + 1, TASKS + 1)))
    assert found == [everything, sorted(BLUE), sorted(BEGUN), everything]


def test_two_lists_are_compared_among_all_tasks_and_not_only_those_that_were_touched(
    world: World, touched: tuple[int, int]
) -> None:
    _, end = touched
    (found,) = pages(world, sides_of((end, end), TaskQuery(label=("blue",)), TaskQuery(status=("in_progress",))), EVERYTHING)
    assert {(*tasks([each]), each.what) for each in found} == {
        *((task, "left") for task in BLUE - BEGUN),
        *((task, "entered") for task in BEGUN - BLUE),
    }


@pytest.mark.parametrize("versions", [19, 20, 21, 99, 100, 101, 250])
def test_a_task_with_a_long_history_is_compared_as_any_other(world: World, versions: int) -> None:
    task = number(1)
    world.record(task, TaskCreated("Version 1"))
    for version in range(2, versions + 2):
        world.record(task, TaskRenamed(f"Version {version}"))
    world.project()
    for first in {1, 2, 20, 21, 99, 100, 101, versions} & set(range(1, versions + 1)):
        ((found,),) = pages(world, sides_of((first, versions + 1), TaskQuery()), EVERYTHING)
        assert (found.from_version, found.to_version) == (first, versions + 1)
        assert (found.fields[0].before, found.fields[0].after) == (f"Version {first}", f"Version {versions + 1}")


def test_of_a_long_history_no_more_is_read_than_follows_its_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = number(1)
    world.record(task, TaskCreated("Version 1"), *(TaskRenamed(f"Version {version}") for version in range(2, 252)))
    world.project()
    read = 0
    decoded = time_travel.own_events

    def counted(rows: Iterable[Sequence[Any]]) -> list[Record]:
        nonlocal read
        records = decoded(rows)
        read += len(records)
        return records

    monkeypatch.setattr(time_travel, "own_events", counted)
    ((found,),) = pages(world, sides_of((240, 251), TaskQuery()), EVERYTHING)
    assert (found.from_version, found.to_version) == (240, 251)
    assert read == time_travel.SHORT + 51
