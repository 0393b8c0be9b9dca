"""Lists over HTTP: filters, orders, pages that neither repeat nor skip, and cursors that nobody can bend."""

import random
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest

from api.edge.errors import BadRequest
from domain.task.events import (
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskLabelAdded,
    TaskStarted,
)
from projections.task.list_query import Sort, TaskQuery
from tests.api_world import Api, User, World, problem

PRIORITIES = ("none", "low", "medium", "high", "urgent")


@pytest.fixture(scope="module")
def lister(api: Api) -> User:
    """Somebody with 60 tasks: every fifth without a due date, several with the same one, priorities and estimates mixed."""
    user = api.register("lister")
    for number in range(60):
        due = None if number % 5 == 0 else datetime(2027, 1, 1 + number % 7, tzinfo=UTC)
        estimate = None if number % 4 == 0 else number * 7 % 6 / 10
        user.record(TaskCreated(f"task {number}", priority=PRIORITIES[number % 5], due_at=due, estimate=estimate))
    api.catch_up()
    return user


def pages(user: User, query: str) -> list[list[dict[str, Any]]]:
    found, cursor = [], ""
    while True:
        answer = user.get(f"/tasks?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        if answer.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json()['next_cursor']}"


def due_key(task: dict[str, Any], descending: bool) -> tuple[bool, float, int]:
    sign = -1 if descending else 1
    due = datetime.fromisoformat(task["due_at"]).timestamp() if task["due_at"] else 0
    return task["due_at"] is None, sign * due, sign * int(task["title"].split()[1])


def expected(tasks: list[dict[str, Any]], sort: str) -> list[str]:
    sign = -1 if sort.startswith("-") else 1
    number = {task["id"]: int(task["title"].split()[1]) for task in tasks}
    match sort.removeprefix("-"):
        case "added" | "created":
            ordered = sorted(tasks, key=lambda task: sign * number[task["id"]])
        case "priority":
            ordered = sorted(tasks, key=lambda t: (sign * PRIORITIES.index(t["priority"]), sign * number[t["id"]]))
        case "estimate":
            ordered = sorted(tasks, key=lambda t: (t["estimate"] is None, sign * (t["estimate"] or 0), sign * number[t["id"]]))
        case _:
            ordered = sorted(tasks, key=lambda task: due_key(task, sign == -1))
    return [task["id"] for task in ordered]


@pytest.mark.parametrize("limit", [1, 7, 20, 60, 100])
@pytest.mark.parametrize("sort", get_args(Sort))
def test_the_pages_together_are_the_list_in_order(lister: User, sort: str, limit: int) -> None:
    everything = lister.get("/tasks?limit=100").json()["items"]
    walked = [task["id"] for page in pages(lister, f"sort={sort}&limit={limit}") for task in page]
    assert walked == expected(everything, sort)


def test_the_first_page_of_the_default_list_leads_into_the_rest(lister: User) -> None:
    walked = [task["id"] for page in pages(lister, "") for task in page]
    assert len(walked) == len(set(walked)) == 60
    assert walked == expected(lister.get("/tasks?limit=100").json()["items"], "-added")


def test_tasks_created_while_walking_are_neither_repeated_nor_in_the_way(api: Api) -> None:
    user = api.register("walker")
    old = [user.task(f"task {number}") for number in range(30)]
    api.catch_up()
    first = user.get("/tasks?limit=10").json()
    user.task("late")
    api.catch_up()
    seen = [task["id"] for task in first["items"]]
    cursor = first["next_cursor"]
    while cursor:
        page = user.get(f"/tasks?limit=10&cursor={cursor}").json()
        seen += [task["id"] for task in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [str(task) for task in reversed(old)]


def test_a_cursor_may_change_the_size_of_the_page(lister: User) -> None:
    cursor = lister.get("/tasks?limit=10").json()["next_cursor"]
    assert len(lister.get(f"/tasks?limit=3&cursor={cursor}").json()["items"]) == 3


def test_a_cursor_of_another_query_is_refused(lister: User) -> None:
    cursor = lister.get("/tasks?limit=10&sort=due").json()["next_cursor"]
    for query in ("sort=-due", "", "sort=due&status=open", "sort=due&deleted=true", "sort=priority"):
        problem(lister.get(f"/tasks?limit=10&{query}&cursor={cursor}"), 400, "invalid_cursor", "cursor")


def test_a_cursor_of_somebody_else_is_refused(lister: User, world: World) -> None:
    for query in ("", "sort=due"):
        cursor = lister.get(f"/tasks?limit=10&{query}").json()["next_cursor"]
        problem(world.ada.get(f"/tasks?limit=10&{query}&cursor={cursor}"), 400, "invalid_cursor", "cursor")


def test_no_mutation_of_a_cursor_is_accepted(lister: User) -> None:
    """Ten thousand mutations against the signer, and some of them over HTTP."""
    generator = random.Random(20261122)
    good = lister.get("/tasks?limit=10&sort=due").json()["next_cursor"]
    signer, bound = lister.api.app.state.cursors, msgspec.msgpack.encode(TaskQuery(sort="due"))
    assert signer.read(lister.workspace_id, bound, good)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \né"
    accepted = []
    for number in range(10_000):
        mutated = list(good)
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(len(mutated))
            match generator.randrange(3):
                case 0:
                    mutated[place] = generator.choice(alphabet)
                case 1:
                    mutated.insert(place, generator.choice(alphabet))
                case _:
                    del mutated[place]
        text = "".join(mutated)
        if text == good:
            continue
        try:
            signer.read(lister.workspace_id, bound, text)
            accepted.append(text)
        except BadRequest:
            pass
        if number % 50 == 0:
            problem(lister.get(f"/tasks?limit=10&sort=due&cursor={quote(text)}"), 400, "invalid_cursor", "cursor")
    assert accepted == []


def test_a_cursor_has_one_spelling_only(lister: User) -> None:
    """What decodes to the same bytes is refused all the same if it is not what was given out."""
    good = lister.get("/tasks?limit=10&sort=due").json()["next_cursor"]
    last = good[-1]
    others = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if c != last]
    for text in [good[:-1] + other for other in others] + [good + "=", good + "\n", "!" + good, good[:9] + "*" + good[9:]]:
        problem(lister.get(f"/tasks?limit=10&sort=due&cursor={quote(text)}"), 400, "invalid_cursor")


@pytest.fixture(scope="module")
def filtered(api: Api) -> tuple[User, dict[str, UUID]]:
    """Somebody with one task of every kind, by name."""
    user = api.register("filterer")
    june = datetime(2027, 6, 1, tzinfo=UTC)
    me = user.principal_id
    tasks = {
        "open": user.record(TaskCreated("Paint the hull", "with red lead", labels=("ink", "tar"))),
        "started": user.record(TaskCreated("Caulk", priority="high", due_at=june), TaskStarted(), TaskLabelAdded("ink")),
        "done": user.record(TaskCreated("Sew sails", priority="high", estimate=0.3), TaskAssigned(me), TaskCompleted()),
        "cancelled": user.record(TaskCreated("Paint names", priority="low", due_at=june), TaskCancelled()),
        "deleted": user.record(TaskCreated("Burn it", labels=("ink",)), TaskDeleted()),
    }
    api.catch_up()
    return user, tasks


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "open started done cancelled"),
        ("limit=100", "open started done cancelled"),
        ("status=open", "open"),
        ("status=open&status=in_progress", "open started"),
        ("priority=high", "started done"),
        ("priority=high&status=completed", "done"),
        ("label=ink", "open started"),
        ("label=ink&label=tar", "open"),
        ("label=INK", ""),
        ("deleted=true", "deleted"),
        ("deleted=true&label=ink", "deleted"),
        ("deleted=false&status=cancelled", "cancelled"),
        ("due_from=2027-06-01T00:00:00Z", "started cancelled"),
        ("due_before=2027-06-01T00:00:00Z", ""),
        ("due_before=2027-06-01T02:00:00%2B01:00", "started cancelled"),
        ("due_before=2027-06-01T02:00:00+01:00", "started cancelled"),
        ("estimate_from=0.3", "done"),
        ("estimate_from=0.4", ""),
        ("estimate_to=0.3", "done"),
        ("estimate_to=1000", "done"),
        ("estimate_from=0&estimate_to=0.2", ""),
        ("created_from=2020-01-01T00:00:00Z", "open started done cancelled"),
        ("created_before=2020-01-01T00:00:00Z", ""),
        ("q=paint", "open cancelled"),
        ("q=pai", "open cancelled"),
        ("q=paint+lea", "open"),
        ("q=lead+paint", "open"),
        ("q=hul+paint", ""),
        ("q='+%26+%7C+!+:*", ""),
    ],
)
def test_a_filter_keeps_what_it_says(filtered: tuple[User, dict[str, UUID]], query: str, names: str) -> None:
    user, tasks = filtered
    answer = user.get(f"/tasks?{query}")
    assert answer.status_code == 200, answer.text
    assert {task["id"] for task in answer.json()["items"]} == {str(tasks[name]) for name in names.split()}


def test_tasks_are_found_by_assignee_and_by_creator(filtered: tuple[User, dict[str, UUID]], world: World) -> None:
    user, tasks = filtered
    mine = user.get(f"/tasks?assignee={user.principal_id}").json()["items"]
    assert [task["id"] for task in mine] == [str(tasks["done"])]
    assert len(user.get(f"/tasks?created_by={user.principal_id}").json()["items"]) == 4
    assert user.get(f"/tasks?created_by={world.ada.principal_id}").json()["items"] == []


@pytest.mark.parametrize("sort", get_args(Sort))
def test_filters_hold_on_every_page_and_in_every_order(lister: User, sort: str) -> None:
    found = [task for page in pages(lister, f"sort={sort}&limit=5&priority=low&priority=high") for task in page]
    assert len(found) == len({task["id"] for task in found}) == 24
    assert {task["priority"] for task in found} == {"low", "high"}


def test_lists_and_counts_are_those_of_the_own_workspace(filtered: tuple[User, dict[str, UUID]], world: World) -> None:
    user, _ = filtered
    counts = user.get("/tasks/counts").json()
    assert counts == {"open": 1, "in_progress": 1, "completed": 1, "cancelled": 1, "deleted": 1}
    nobody = world.api.register("nobody")
    assert nobody.get("/tasks/counts").json() == dict.fromkeys(counts, 0)
    assert nobody.get("/tasks").json() == {"items": [], "next_cursor": None, "has_more": False}
    assert nobody.get("/tasks?sort=due").json() == {"items": [], "next_cursor": None, "has_more": False}


def test_the_list_from_redis_is_that_from_postgres(lister: User) -> None:
    hot, table = lister.get("/tasks"), lister.get("/tasks?limit=20&deleted=false")
    assert hot.json()["items"] == table.json()["items"]
