"""Over HTTP: lists, counts and histories as they were, and what became of a list between two moments."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from domain.task.events import (
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskLabelRemoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskStarted,
)
from tests.api_world import Api, User, problem

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Told:
    """A small workspace, and the positions at which things had happened in it."""

    def __init__(self, api: Api, user: User) -> None:
        self.user = user
        self.door = user.record(TaskCreated("Paint the door", labels=("house",)))
        self.paint = user.record(TaskCreated("Buy paint", priority="high"))
        self.begun = api.head()
        user.record(TaskStarted(), TaskRenamed("Paint the window"), TaskLabelRemoved("house"), task_id=self.door, after=1)
        self.renamed = api.head()
        user.record(TaskDeleted(), task_id=self.paint, after=1)
        user.record(TaskPrioritySet("urgent"), task_id=self.door, after=4)
        self.bell = user.record(TaskCreated("Ring the bell", labels=("house",)))
        self.ended = api.head()
        self.old = user.record(TaskCreated("Long ago"), effective_at=LONG_AGO)
        user.record(TaskCompleted(), task_id=self.old, effective_at=LONG_AGO + timedelta(days=9), after=1)
        api.catch_up()

    def titles(self, query: str) -> list[str]:
        answer = self.user.get(f"/tasks?{query}")
        assert answer.status_code == 200, answer.text
        return [task["title"] for task in answer.json()["items"]]

    def diff(self, query: str) -> list[tuple[str, str, list[str]]]:
        answer = self.user.get(f"/tasks/diff?{query}")
        assert answer.status_code == 200, answer.text
        return [(one["what"], one["title"], [field["field"] for field in one["fields"]]) for one in answer.json()["items"]]


@pytest.fixture(scope="module")
def told(api: Api) -> Told:
    return Told(api, api.register("historian"))


def test_a_list_shows_the_tasks_as_they_were(told: Told) -> None:
    assert told.titles(f"as_of={told.begun}") == ["Buy paint", "Paint the door"]
    assert told.titles(f"as_of={told.renamed}") == ["Buy paint", "Paint the window"]
    assert told.titles(f"as_of={told.ended}") == ["Ring the bell", "Paint the window"]
    assert told.titles("as_of=0") == []


def test_filters_orders_and_searches_are_those_of_then(told: Told) -> None:
    assert told.titles(f"as_of={told.begun}&label=house") == ["Paint the door"]
    assert told.titles(f"as_of={told.renamed}&label=house") == []
    assert told.titles(f"as_of={told.renamed}&status=in_progress") == ["Paint the window"]
    assert told.titles(f"as_of={told.begun}&q=door") == ["Paint the door"]
    assert told.titles(f"as_of={told.renamed}&q=door") == []
    assert told.titles(f"as_of={told.ended}&sort=-priority") == ["Paint the window", "Ring the bell"]
    assert told.titles(f"as_of={told.begun}&sort=-priority") == ["Buy paint", "Paint the door"]


def test_deleted_tasks_are_found_where_they_were_deleted_then(told: Told) -> None:
    assert told.titles(f"as_of={told.renamed}&deleted=true") == []
    assert told.titles(f"as_of={told.ended}&deleted=true") == ["Buy paint"]


def test_an_answer_cites_the_moment_that_it_is_about(told: Told) -> None:
    for path in ("/tasks", "/tasks/counts", f"/tasks/{told.door}/history"):
        answer = told.user.get(f"{path}?as_of={told.renamed}")
        assert answer.headers["X-Position"] == str(told.renamed), path


def test_a_line_of_the_past_is_the_task_as_of_then(told: Told) -> None:
    (line, *_) = told.user.get(f"/tasks?as_of={told.renamed}&q=window").json()["items"]
    task = told.user.get(f"/tasks/{told.door}?as_of={told.renamed}").json()
    assert line == {name: task[name] for name in line}


def test_counts_are_those_of_then(told: Told) -> None:
    def counted(as_of: object) -> dict[str, int]:
        found: dict[str, int] = told.user.get(f"/tasks/counts?as_of={as_of}").json()
        return {kind: number for kind, number in found.items() if number}

    assert counted(told.begun) == {"open": 2}
    assert counted(told.renamed) == {"open": 1, "in_progress": 1}
    assert counted(told.ended) == {"open": 1, "in_progress": 1, "deleted": 1}
    assert counted("2020-01-02T00:00:00Z") == {"open": 1}
    assert counted("2020-02-01T00:00:00Z") == {"completed": 1}


def test_an_instant_is_by_when_things_happened(told: Told) -> None:
    assert told.titles("as_of=2020-01-02T00:00:00Z") == ["Long ago"]
    assert told.titles("as_of=2020-01-02T00:00:00Z&status=completed") == []
    assert told.titles("as_of=2020-02-01T00:00:00Z&status=completed") == ["Long ago"]
    assert told.titles("as_of=2019-12-31T00:00:00Z") == []
    now = quote(datetime.now(UTC).isoformat())
    assert told.titles(f"as_of={now}") == told.titles("")


def test_a_history_ends_where_it_did_then(told: Told) -> None:
    def types(as_of: object) -> list[str]:
        return [entry["type"] for entry in told.user.get(f"/tasks/{told.door}/history?as_of={as_of}").json()["items"]]

    assert types(told.begun) == ["task.created"]
    assert types(told.renamed) == ["task.created", "task.started", "task.renamed", "task.label_removed"]
    problem(told.user.get(f"/tasks/{told.bell}/history?as_of={told.renamed}"), 404, "task_not_found")


def test_a_cursor_goes_on_at_its_moment_and_at_no_other(told: Told) -> None:
    first = told.user.get(f"/tasks?as_of={told.renamed}&limit=1").json()
    cursor = first["next_cursor"]
    assert told.titles(f"as_of={told.renamed}&limit=1&cursor={cursor}") == ["Paint the window"]
    for other in (f"as_of={told.begun}&", ""):
        problem(told.user.get(f"/tasks?{other}limit=1&cursor={cursor}"), 400, "invalid_cursor")


@pytest.mark.parametrize("path", ["/tasks", "/tasks/counts", "/tasks/{}/history", "/tasks/diff?from=0&to="])
def test_a_moment_that_has_not_come_is_refused(told: Told, path: str) -> None:
    path = path.format(told.door)
    name = "to" if "diff" in path else "as_of"
    asked = path if "diff" in path else f"{path}?as_of="
    problem(told.user.get(f"{asked}99999999"), 422, "position_in_the_future", name)
    problem(told.user.get(f"{asked}2999-01-01T00:00:00Z"), 422, "instant_in_the_future")
    problem(told.user.get(f"{asked}1.00000000"), 409, "another_history", name)
    problem(told.user.get(f"{asked}yesterday"), 400, "invalid_parameter", name)


def test_nobody_sees_the_past_of_others(api: Api, told: Told) -> None:
    stranger = api.register("stranger")
    api.catch_up()
    head = api.head()
    assert stranger.get(f"/tasks?as_of={head}").json()["items"] == []
    assert stranger.get(f"/tasks?as_of={head}&q=paint").json()["items"] == []
    assert stranger.get(f"/tasks/diff?from=0&to={head}").json()["items"] == []
    assert not any(stranger.get(f"/tasks/counts?as_of={head}").json().values())


def test_what_became_of_a_list(told: Told) -> None:
    assert told.diff(f"from={told.begun}&to={told.ended}") == [
        ("changed", "Paint the window", ["title", "status", "priority", "labels"]),
        ("left", "Buy paint", ["deleted"]),
        ("entered", "Ring the bell", ["title", "status", "priority", "labels"]),
    ]
    assert told.diff(f"from={told.begun}&to={told.begun}") == []
    assert told.diff(f"from={told.begun}&to={told.ended}&label=house") == [
        ("left", "Paint the window", ["title", "status", "priority", "labels"]),
        ("entered", "Ring the bell", ["title", "status", "priority", "labels"]),
    ]


def test_two_lists_are_compared(told: Told) -> None:
    moved = told.diff(f"from={told.ended}&to={told.ended}&status=open&to_status=in_progress")
    assert [(what, title) for what, title, _ in moved] == [("entered", "Paint the window"), ("left", "Ring the bell")]
    everything = told.diff(f"from={told.ended}&to={told.ended}&label=house&to_label=")
    assert everything == [("entered", "Paint the window", [])]


def test_each_field_is_told_before_and_after(told: Told) -> None:
    answer = told.user.get(f"/tasks/diff?from={told.begun}&to={told.renamed}").json()
    (changed,) = answer["items"]
    assert (changed["from_version"], changed["to_version"]) == (1, 4)
    assert changed["fields"][0] == {"field": "title", "before": "Paint the door", "after": "Paint the window"}


def test_differences_by_instants(told: Told) -> None:
    between = "from=2020-01-02T00:00:00Z&to=2020-02-01T00:00:00Z"
    assert told.diff(between) == [("changed", "Long ago", ["status"])]
    assert told.diff(f"{between}&status=completed") == [("entered", "Long ago", ["status"])]


def test_differences_come_in_pages(told: Told) -> None:
    query, cursor, found = f"from=0&to={told.ended}&limit=1", "", []
    while cursor is not None:
        answer: dict[str, Any] = told.user.get(f"/tasks/diff?{query}{cursor and '&cursor='}{cursor}").json()
        found += [one["title"] for one in answer["items"]]
        assert answer["has_more"] == (answer["next_cursor"] is not None)
        cursor = answer["next_cursor"]
    assert found == ["Paint the window", "Ring the bell"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("to=1", "from"),
        ("from=1", "to"),
        ("from=2&to=1", "from"),
        ("from=0&to=1&to_status=gone", "to_status"),
        ("from=0&to=1&status=gone", "status"),
    ],
)
def test_a_comparison_that_makes_no_sense_says_why(told: Told, query: str, pointer: str) -> None:
    problem(told.user.get(f"/tasks/diff?{query}"), 400, "invalid_parameter", pointer)
