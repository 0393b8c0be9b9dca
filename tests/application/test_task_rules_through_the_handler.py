"""The task's rules once more, through the command handler and the log, where they have to hold as well."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import replace

from application.log import NewEvent
from domain.envelope import Erased
from domain.project.values import first_project_of
from domain.task.commands import TaskCommand
from domain.task.events import TaskCreated, TaskEvent
from tests.application.handler_under_test import Desk, a_desk, context
from tests.domain.task.test_lifecycle import (
    TestCancelTask,
    TestCompleteTask,
    TestCreateTask,
    TestDeletedTask,
    TestDeleteTask,
    TestLogActivity,
    TestMissingTask,
    TestReopenTask,
    TestRestoreTask,
    TestStartTask,
    TestStopTask,
)
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log_under_test import WORKSPACE, an_append
from tests.specification import at_level

__all__ = [
    "TestCancelTask",
    "TestCompleteTask",
    "TestCreateTask",
    "TestDeleteTask",
    "TestDeletedTask",
    "TestLogActivity",
    "TestMissingTask",
    "TestReopenTask",
    "TestRestoreTask",
    "TestStartTask",
    "TestStopTask",
]


async def outcome(
    desk: Desk, history: Sequence[TaskEvent], command: TaskCommand, now: datetime
) -> Sequence[TaskEvent | Erased]:
    """What the command leaves in the log of a task with this history."""
    task = uuid4()
    if history:
        await desk.store.append(an_append(*(NewEvent(task, n, event) for n, event in enumerate(history, 1))))
    receipt = await desk.handle(command, task, context(now=now))
    recorded = await desk.recorded(task, after=len(history))
    assert (receipt.version, receipt.changed) == (len(history) + len(recorded), bool(recorded))
    return [_without_project(event) for event in recorded]


def _without_project(event: TaskEvent | Erased) -> TaskEvent | Erased:
    """The handler adds the project that the command left to the workspace."""
    if not isinstance(event, TaskCreated):
        return event
    assert event.project_id == first_project_of(WORKSPACE)
    return replace(event, project_id=None)


@pytest.fixture(autouse=True, params=["postgres", "memory"])
def _through_the_handler(request: pytest.FixtureRequest) -> Iterator[None]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        if request.param == "memory":
            desk = Desk(InMemoryEventStore(lambda: datetime.now(UTC)))
        else:
            desk = runner.run(stack.enter_async_context(a_desk(request.getfixturevalue("database_url"))))

        def level(history: Sequence[TaskEvent], command: TaskCommand, now: datetime) -> Sequence[TaskEvent | Erased]:
            return runner.run(outcome(desk, history, command, now))

        with at_level(level):
            yield
        runner.run(stack.aclose())
