"""The rules of a task's life, checked once more from the outside: a stored history, a request, the new events.

The scenarios are those of the domain; only a creation on top of an existing task has no request.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from domain.errors import DomainError, InvalidValue, NotFound, RuleViolated
from domain.task.commands import CreateTask, TaskCommand
from domain.task.events import TaskEvent
from tests.api_world import World
from tests.domain.samples import ANA, BEN, people
from tests.domain.task.test_lifecycle import (
    TestCancelTask,
    TestCompleteTask,
    TestDeletedTask,
    TestDeleteTask,
    TestLogActivity,
    TestMissingTask,
    TestReopenTask,
    TestRestoreTask,
    TestStartTask,
    TestStopTask,
)
from tests.specification import at_level

# The test classes that are collected here once more.
__all__ = [
    "TestCancelTask",
    "TestCompleteTask",
    "TestDeleteTask",
    "TestDeletedTask",
    "TestLogActivity",
    "TestMissingTask",
    "TestReopenTask",
    "TestRestoreTask",
    "TestStartTask",
    "TestStopTask",
]

_KINDS: dict[int, type[DomainError]] = {404: NotFound, 409: RuleViolated, 422: InvalidValue}


class OverHttp:
    """The level: the history goes into the log as it is, the command through its route."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, history: Sequence[TaskEvent], command: TaskCommand, now: datetime) -> Sequence[TaskEvent]:
        user = self._world.ada
        task_id = user.record(*history) if history else uuid4()
        method, path = _request_line(command)
        body: dict[str, Any] = msgspec.to_builtins(command)
        tag = body.pop("command")
        assert tag
        answer = user.request(method, path.format(task_id), json=body)
        if answer.status_code >= 400:
            found = answer.json()
            pointer = found["errors"][0]["pointer"].removeprefix("/") if "errors" in found else None
            raise _KINDS[answer.status_code](found["code"], found["detail"], pointer)
        if isinstance(command, CreateTask):
            task_id = answer.json()["stream_id"]
        return [record.event for record in self._world.api.events(task_id, after=len(history))]


def _request_line(command: TaskCommand) -> tuple[str, str]:
    verb = str(command.__struct_config__.tag).replace("_", "-")
    special = {"create": ("POST", "/tasks"), "change": ("PATCH", "/tasks/{}"), "delete": ("DELETE", "/tasks/{}")}
    return special.get(verb, ("POST", f"/tasks/{{}}/{verb}"))


@pytest.fixture(scope="module")
def populated(world: World) -> World:
    """The persons whom the scenarios speak of are members."""
    for person in (ANA, BEN, *people(3)):
        world.api.execute(
            "INSERT INTO taskmaster.members VALUES (%s, %s, 'imported', 'Somebody')", world.ada.workspace_id, person
        )
    return world


@pytest.fixture(autouse=True)
def over_http(populated: World) -> Iterator[None]:
    """Every scenario of this module runs over HTTP."""
    with at_level(OverHttp(populated)):
        yield
