"""What was erased over HTTP: every read goes on, now and as of any moment, and tells nothing of it; so do commands."""

from uuid import UUID

import pytest

from domain.task.events import TaskCompleted, TaskCreated, TaskLabelAdded, TaskRenamed
from infrastructure.log.erasing import erase_payloads
from infrastructure.servers.postgres import connect_sync, log_schema
from tests.api_world import Api, User
from tests.infrastructure.processes_under_test import wait_until

SECRET = "xq7secret"


@pytest.fixture
def user(api: Api) -> User:
    """Somebody new, with an empty workspace."""
    return api.register("thea")


@pytest.fixture
def task(user: User) -> UUID:
    """A task of his beside another one, erased after read models had taken it."""
    user.task("another")
    task = user.record(
        TaskCreated(f"{SECRET} title", f"{SECRET} text", "high", labels=(SECRET,), reason=SECRET),
        TaskRenamed(f"{SECRET} other"),
        TaskLabelAdded(f"{SECRET}-b"),
        TaskCompleted(reason=SECRET),
    )
    user.api.catch_up()
    assert SECRET in user.get("/tasks").text
    erase(user, task)
    user.api.catch_up()
    return task


def erase(user: User, task: UUID) -> None:
    settings = user.api.resources.settings
    schema = log_schema(settings.log_name)
    with connect_sync(settings.database_url, schema) as connection:
        erase_payloads(connection, schema, [task])


def test_no_read_tells_anything_of_it_or_fails(user: User, task: UUID) -> None:
    first = user.api.events(task)[0].position
    moments = [f"as_of={position}" for position in range(first, user.api.head() + 1)]
    paths = [
        "/tasks", "/tasks/counts", "/changes", "/changes?include=task", f"/tasks?q={SECRET}", f"/tasks?label={SECRET}",
        f"/tasks/{task}", f"/tasks/{task}/history", f"/tasks/diff?from={first}&to={user.api.head()}", "/analytics/flow",
        *(f"/tasks?{moment}" for moment in moments), *(f"/tasks?q={SECRET}&{moment}" for moment in moments),
        *(f"/tasks/{task}?{moment}" for moment in moments), *(f"/tasks/{task}/history?{moment}" for moment in moments),
        *(f"/tasks/{task}?version={version}" for version in (1, 2, 3, 4)),
    ]  # fmt: skip
    for path in paths:
        answer = user.get(path)
        assert (answer.status_code, SECRET in answer.text.replace(path, "")) == (200, False), path


def test_what_its_type_says_is_still_shown(user: User, task: UUID) -> None:
    shown = user.get(f"/tasks/{task}").json()
    assert (shown["title"], shown["status"], shown["labels"], shown["version"]) == ("", "completed", [], 4)
    entries = user.get(f"/tasks/{task}/history").json()["items"]
    assert [entry["type"] for entry in entries] == ["task.created", "task.renamed", "task.label_added", "task.completed"]
    assert {(entry["erased"], entry["reason"]) for entry in entries} == {(True, None)}
    assert user.get("/tasks/counts").json()["completed"] == 1
    assert user.get("/tasks?q=another").json()["items"][0]["title"] == "another"


def test_an_api_process_forgets_it_within_a_look(user: User) -> None:
    task = user.task(SECRET)
    assert SECRET in repr(user.api.log.store.recall(task))
    erase(user, task)
    wait_until(lambda: user.api.log.store.recall(task) is None)
    user.post(f"/tasks/{task}/set-priority", {"priority": "high"})
    assert SECRET not in repr(user.api.log.store.recall(task))


def test_it_goes_on_with_what_is_said_afterwards(user: User, task: UUID) -> None:
    user.post(f"/tasks/{task}/rename", {"title": "anew"})
    user.post(f"/tasks/{task}/reopen", {})
    user.api.catch_up()
    shown = user.get(f"/tasks/{task}").json()
    assert (shown["title"], shown["status"], shown["version"]) == ("anew", "open", 6)
    assert [entry["erased"] for entry in user.get(f"/tasks/{task}/history").json()["items"]] == [True] * 4 + [False] * 2
