"""The task's rules once more, through the command handler and the log, where they have to hold as well."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from application.log import NewEvent
from domain.task.commands import TaskCommand
from domain.task.events import TaskEvent
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
from tests.infrastructure.log_under_test import an_append
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


async def outcome(desk: Desk, history: Sequence[TaskEvent], command: TaskCommand, now: datetime) -> Sequence[TaskEvent]:
    """What the command leaves in the log of a task with this history."""
    task = uuid4()
    if history:
        await desk.store.append(an_append(*(NewEvent(task, n, event) for n, event in enumerate(history, 1))))
    receipt = await desk.handle(command, task, context(now=now))
    recorded = await desk.recorded(task, after=len(history))
    assert (receipt.version, receipt.changed) == (len(history) + len(recorded), bool(recorded))
    return recorded


@pytest.fixture(autouse=True, params=["postgres", "memory"])
def _through_the_handler(request: pytest.FixtureRequest) -> Iterator[None]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        if request.param == "memory":
            desk = Desk(InMemoryEventStore(lambda: datetime.now(UTC)))
        else:
            desk = runner.run(stack.enter_async_context(a_desk(request.getfixturevalue("database_url"))))

        def level(history: Sequence[TaskEvent], command: TaskCommand, now: datetime) -> Sequence[TaskEvent]:
            return runner.run(outcome(desk, history, command, now))

        with at_level(level):
            yield
        runner.run(stack.aclose())
