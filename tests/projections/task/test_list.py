"""task_list: what is written through events is found by the public query, and nothing else is."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from domain.task.events import (
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEstimateSet,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskRestored,
    TaskStarted,
)
from domain.task.values import Priority
from projections.tables.bounds import Room
from projections.tables.pages import ListCursor, Page
from projections.task.facets import PRIORITY_RANK
from projections.task.list import find_tasks, get_task
from projections.task.list_as_of import count_tasks
from projections.task.list_query import Sort, TaskQuery
from projections.task.views import TaskSummary, detail_json
from tests.log_world import ANA, BEN, ELSEWHERE, HOME, World, number

DUE = datetime(2026, 5, 1, 12, tzinfo=UTC)


def page(world: World, query: TaskQuery, after: ListCursor | None = None, limit: int = 100, workspace: UUID = HOME) -> Page:
    return world.ask(lambda connection: find_tasks(connection, workspace, query, after, Room(limit)))


def ids(found: Page) -> list[int]:
    """Which tasks, by their numbers."""
    return [msgspec.json.decode(item, type=TaskSummary).id.int & 0xFFFF for item in found.items]


def find(world: World, workspace: UUID = HOME, **filters: Any) -> list[int]:
    return sorted(ids(page(world, TaskQuery(**filters), workspace=workspace)))


def walk(world: World, query: TaskQuery, limit: int) -> list[int]:
    """All pages, one after the other."""
    seen: list[int] = []
    after: ListCursor | None = None
    while True:
        found = page(world, query, after, limit)
        seen += ids(found)
        if found.after is None:
            return seen
        after = found.after


@pytest.fixture
def filled(world: World) -> World:
    """Eight tasks that differ in everything that can be filtered for, and look-alikes in another workspace."""
    for workspace, first in ((HOME, 0), (ELSEWHERE, 100)):
        n = first
        world.record(number(n + 1), TaskCreated("Open", labels=("red",)), workspace=workspace)
        world.record(number(n + 2), TaskCreated("Begun", priority="low"), TaskStarted(), workspace=workspace)
        world.record(number(n + 3), TaskCreated("Done", due_at=DUE), TaskCompleted(), workspace=workspace, by=BEN)
        world.record(number(n + 4), TaskCreated("Off", priority="urgent"), TaskCancelled(), workspace=workspace)
        world.record(number(n + 5), TaskCreated("Gone"), TaskDeleted(), workspace=workspace)
        world.record(
            number(n + 6), TaskCreated("Two", estimate=0.0, assignees=(BEN,), labels=("red", "blue")), workspace=workspace
        )
        changed = (
            TaskLabelAdded("blue"),
            TaskLabelRemoved("red"),
            TaskAssigned(ANA),
            TaskPrioritySet("high"),
            TaskEstimateSet(0.3),
        )
        world.record(number(n + 7), TaskCreated("Changed", labels=("red",)), *changed, workspace=workspace)
        later = datetime(2020, 2, 2, tzinfo=UTC)
        world.record(number(n + 8), TaskCreated("Old", due_at=DUE + timedelta(days=2)), workspace=workspace, at=later)
    world.project()
    return world


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 6, 7, 8]),
    ({"status": ("open",)}, [1, 6, 7, 8]),
    ({"status": ("in_progress", "completed")}, [2, 3]),
    ({"status": ("cancelled",)}, [4]),
    ({"priority": ("low", "urgent")}, [2, 4]),
    ({"priority": ("high",)}, [7]),
    ({"priority": ("none",)}, [1, 3, 6, 8]),
    ({"label": ("red",)}, [1, 6]),
    ({"label": ("red", "blue")}, [6]),
    ({"label": ("Red",)}, []),
    ({"assignee": BEN}, [6]),
    ({"assignee": ANA}, [7]),
    ({"assignee": BEN, "label": ("blue",)}, [6]),
    ({"created_by": BEN}, [3]),
    ({"due_from": DUE}, [3, 8]),
    ({"due_from": DUE + timedelta(microseconds=1)}, [8]),
    ({"due_before": DUE}, []),
    ({"due_before": DUE + timedelta(microseconds=1)}, [3]),
    ({"estimate_from": 0.0}, [6, 7]),
    ({"estimate_from": 0.3}, [7]),
    ({"estimate_from": 0.4}, []),
    ({"estimate_to": 0.2}, [6]),
    ({"estimate_to": 0.3}, [6, 7]),
    ({"estimate_from": 0.1, "estimate_to": 0.3}, [7]),
    ({"estimate_from": 0.1, "estimate_to": 0.2}, []),
    ({"created_before": datetime(2021, 1, 1, tzinfo=UTC)}, [8]),
    ({"created_from": datetime(2021, 1, 1, tzinfo=UTC)}, [1, 2, 3, 4, 6, 7]),
    ({"deleted": True}, [5]),
    ({"status": ("open",), "label": ("blue",), "priority": ("high",)}, [7]),
]


def test_every_filter_finds_exactly_its_own_workspaces_tasks(filled: World) -> None:
    for filters, expected in FILTERS:
        assert find(filled, **filters) == expected, filters
        assert find(filled, ELSEWHERE, **filters) == [each + 100 for each in expected], filters


def test_a_task_is_served_in_full_only_to_its_own_workspace(filled: World) -> None:
    own, position = filled.ask(lambda connection: get_task(connection, HOME, number(7)))
    assert own == (6, detail_json(filled.folded(number(7))))
    assert position == filled.head()
    assert filled.ask(lambda connection: get_task(connection, ELSEWHERE, number(7)))[0] is None
    assert filled.ask(lambda connection: get_task(connection, HOME, number(999)))[0] is None


def test_counts_are_by_status_with_the_deleted_apart(filled: World) -> None:
    counts, position = filled.ask(lambda connection: count_tasks(connection, HOME))
    assert counts == {"open": 4, "in_progress": 1, "completed": 1, "cancelled": 1, "deleted": 1}
    assert position == filled.head()


def test_a_restored_task_is_found_again(filled: World) -> None:
    filled.record(number(5), TaskRestored())
    filled.project()
    assert 5 in find(filled)
    assert find(filled, deleted=True) == []


def test_an_empty_workspace_answers_with_the_position(world: World) -> None:
    found = page(world, TaskQuery())
    assert (found.items, found.after, found.position) == ([], None, 0)


def _sorted_by_python(world: World, sort: Sort) -> list[int]:
    """The order stated a second time: by value with the missing last, ties and the default by creation."""
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    documents = [world.folded(number(n)) for n in range(1, 25)]
    documents.sort(key=lambda document: document.created_position, reverse=descending)
    if key == "priority":
        documents.sort(key=lambda document: PRIORITY_RANK[document.task.priority], reverse=descending)
    if key == "created":
        documents.sort(key=lambda document: document.created_at, reverse=descending)
    if key == "due":
        with_date = [document for document in documents if document.task.due_at]
        with_date.sort(key=lambda document: document.task.due_at or DUE, reverse=descending)
        documents = with_date + [document for document in documents if not document.task.due_at]
    if key == "estimate":
        documents.sort(key=lambda document: (document.task.estimate or 0) * (-1 if descending else 1))
        documents.sort(key=lambda document: document.task.estimate is None)
    return [document.id.int & 0xFFFF for document in documents]


@pytest.fixture
def tied(world: World) -> World:
    """24 tasks: three due dates and none, each several times; every priority several times."""
    priorities: tuple[Priority, ...] = ("none", "low", "medium", "high", "urgent")
    for n in range(1, 25):
        due = None if n % 4 == 0 else DUE + timedelta(days=n % 3)
        # Some are imported, in another order than they were created in; several at one moment.
        at = None if n % 6 == 0 else DUE - timedelta(days=100 + n * 7 % 10)
        estimate = None if n % 7 == 0 else (n * 5 % 4) / 10
        world.record(number(n), TaskCreated(f"Task {n}", priority=priorities[n % 5], due_at=due, estimate=estimate), at=at)
    world.project()
    return world


SORTS: tuple[Sort, ...] = get_args(Sort)


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_holds_over_pages_of_any_size(tied: World, sort: Sort) -> None:
    expected = _sorted_by_python(tied, sort)
    added = _sorted_by_python(tied, "-added" if sort.startswith("-") else "added")
    assert (expected == added) == (sort in {"added", "-added"}), "values by which the tasks are in another order"
    for limit in (1, 5, 6, 24, 25):
        assert walk(tied, TaskQuery(sort=sort), limit) == expected, limit


@pytest.mark.parametrize("sort", SORTS)
def test_pages_neither_repeat_nor_skip_while_tasks_are_added(tied: World, sort: Sort) -> None:
    expected, seen = _sorted_by_python(tied, sort), []
    after: ListCursor | None = None
    added = 100
    while True:
        found = page(tied, TaskQuery(sort=sort), after, 5)
        seen += ids(found)
        if (after := found.after) is None:
            break
        due = None if added % 2 else DUE + timedelta(days=added % 3)
        tied.record(number(added), TaskCreated("Added", priority="medium", due_at=due, estimate=added % 4 / 10))
        tied.project()
        added += 1
        assert added < 130
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each < 100] == expected


def test_the_last_full_page_says_that_it_is_the_last(tied: World) -> None:
    assert page(tied, TaskQuery(), None, 24).after is None
    assert page(tied, TaskQuery(), None, 23).after is not None


@pytest.fixture
def worded(world: World) -> World:
    world.record(number(1), TaskCreated("Fix the login form", description="Users cannot sign in"))
    world.record(number(2), TaskCreated("Fix the printer", description="It is O'Brien's & it's 100% broken: a|b !c"))
    world.record(number(3), TaskCreated("naïve ✓ 漢字 test", description="back\\slash 'quoted' (round) <-> :*"))
    world.record(number(4), TaskCreated("Renamed later"), TaskRenamed("Replaced"))
    world.record(number(11), TaskCreated("Fix the login form"), workspace=ELSEWHERE)
    world.project()
    return world


WORDS = [
    ("fix", [1, 2]),
    ("FIX Login", [1]),
    ("login fix", [1]),
    ("fix log", [1]),
    ("log fix", []),
    ("sign users", [1]),
    ("later", []),
    ("replac", [4]),
    ("naïve 漢", [3]),
    ("o'brien", [2]),
    ("o'brien's", [2]),
    ("100%", [2]),
    ("   ", []),
    ("", []),
    ("!&|:*", []),
]


def test_words_are_joined_by_and_and_the_last_may_be_a_prefix(worded: World) -> None:
    for words, expected in WORDS:
        assert find(worded, q=words) == expected, words


HOSTILE = [
        "fix | printer", "!fix", "fix & !login", "(login", "fix)", "login:*", "l:ABCD", "a <-> b", "<2>",
        "'", "''", "'''", "\\",
        "\\'", "\\\\'", "fix \\", "' | 'fix", "';DROP TABLE task_list;--", "%s %(q)s %%", "$1", "\u2028", "\x7f", "*", ":",
        ":*", "&",
        "|", "!", "!!", "( )", "-", "a:*b", "😀", "\ufeff", "İ", "x" * 3000, "漢" * 3000, "login " * 500,
    ]  # fmt: skip


def test_no_operator_of_the_query_language_gets_through(worded: World) -> None:
    """Every text is searched for as words: none of these may widen the search, and none may fail."""
    for hostile in HOSTILE:
        assert set(find(worded, q=f"login {hostile}")) <= {1}, hostile
        assert len(find(worded, q=hostile)) <= 4, hostile


def test_a_negated_word_is_searched_for_and_not_excluded(worded: World) -> None:
    assert find(worded, q="!login") == [1]
    assert find(worded, q="login | printer") == []


def test_other_workspaces_words_labels_and_people_are_never_found(worded: World) -> None:
    assert find(worded, ELSEWHERE, q="fix") == [11]
    assert find(worded, ELSEWHERE, q="printer") == []
