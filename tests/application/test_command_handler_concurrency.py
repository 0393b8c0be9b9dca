"""The command handler where others write too: stale memory is never believed, and every command lands."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from application.command_handler import IfMatch, PreconditionFailed
from application.log import Append, Appended, LogUnavailable
from domain.errors import RuleViolated
from domain.task.aggregate import TASK
from domain.task.commands import (
    AddLabel,
    CancelTask,
    CompleteTask,
    CreateTask,
    DeleteTask,
    RenameTask,
    ReopenTask,
    SetPriority,
)
from domain.task.events import TaskCancelled, TaskPrioritySet, TaskRenamed
from tests.application.handler_under_test import FIRST, Desk, a_desk, context, opened_desk
from tests.faults.proxy import PostgresProxy
from tests.infrastructure.log_under_test import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with a_desk(database_url) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Desk]:
    """Another process on the same log, with a memory of its own."""
    async with a_desk(database_url) as opened:
        yield opened


@pytest.fixture
async def task(desk: Desk) -> UUID:
    """A task that `desk` remembers."""
    identity = uuid4()
    await desk.handle(CreateTask("Ship it"), identity)
    return identity


class TestStaleMemory:
    async def test_a_no_op_is_decided_again_on_what_the_log_says(self, desk: Desk, other: Desk, task: UUID) -> None:
        await other.handle(RenameTask("Sail it"), task)
        receipt = await desk.handle(RenameTask("Ship it"), task)
        assert (receipt.version, receipt.changed) == (3, True)
        assert await desk.recorded(task, 1) == [TaskRenamed("Sail it"), TaskRenamed("Ship it")]

    async def test_a_refusal_is_decided_again_on_what_the_log_says(self, desk: Desk, other: Desk, task: UUID) -> None:
        await desk.handle(CompleteTask(), task)
        await other.handle(ReopenTask(), task)
        assert (await desk.handle(CancelTask(), task)).version == 4
        assert await desk.recorded(task, 3) == [TaskCancelled()]

    async def test_a_failed_precondition_is_decided_again_on_what_the_log_says(
        self, desk: Desk, other: Desk, task: UUID
    ) -> None:
        await other.handle(SetPriority("high"), task)
        assert (await desk.handle(RenameTask("a"), task, context(if_match=IfMatch((2,))))).version == 3

    async def test_an_accepted_decision_is_made_again_after_the_conflict(self, desk: Desk, other: Desk, task: UUID) -> None:
        await other.handle(RenameTask("Sail it"), task)
        receipt = await desk.handle(SetPriority("high"), task)
        assert (receipt.version, receipt.position) == (3, FIRST + 3)
        assert await desk.recorded(task, 1) == [TaskRenamed("Sail it"), TaskPrioritySet("high")]

    async def test_what_became_impossible_is_refused_after_the_conflict(self, desk: Desk, other: Desk, task: UUID) -> None:
        await other.handle(DeleteTask(), task)
        with pytest.raises(RuleViolated) as refusal:
            await desk.handle(SetPriority("high"), task)
        assert refusal.value.code == "task_deleted"

    async def test_what_became_a_no_op_writes_nothing_after_the_conflict(self, desk: Desk, other: Desk, task: UUID) -> None:
        await other.handle(SetPriority("high"), task)
        receipt = await desk.handle(SetPriority("high"), task)
        assert (receipt.version, receipt.changed) == (2, False)

    async def test_if_match_holds_against_the_log_not_the_memory(self, desk: Desk, other: Desk, task: UUID) -> None:
        await other.handle(RenameTask("Sail it"), task)
        with pytest.raises(PreconditionFailed):
            await desk.handle(RenameTask("Row it"), task, context(if_match=IfMatch((1,))))
        assert await desk.version(task) == 2


class TestContention:
    async def test_twenty_commands_on_one_task_at_once_all_land(self, desk: Desk, task: UUID) -> None:
        receipts = await asyncio.gather(*(desk.handle(AddLabel(f"label {n}"), task) for n in range(20)))
        assert sorted(receipt.version for receipt in receipts) == list(range(2, 22))
        assert await desk.version(task) == 21

    async def test_twenty_commands_from_two_processes_all_land(self, desk: Desk, other: Desk, task: UUID) -> None:
        receipts = await asyncio.gather(
            *(each.handle(AddLabel(f"label {n} {id(each)}"), task) for n in range(10) for each in (desk, other))
        )
        assert sorted(receipt.version for receipt in receipts) == list(range(2, 22))

    async def test_creations_of_one_task_at_once_make_one(self, desk: Desk) -> None:
        identity = uuid4()
        outcomes = await asyncio.gather(
            *(desk.handle(CreateTask(f"title {n}"), identity) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(outcome, RuleViolated) for outcome in outcomes) == 4
        assert await desk.version(identity) == 1


class TestLogThatIsAway:
    async def test_those_who_queue_fail_with_the_one_before_them_and_not_each_after_its_own_wait(
        self, desk: Desk, task: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        async def away(append: Append) -> Appended:
            asked.append(append)
            await asyncio.sleep(0)
            raise LogUnavailable("the log cannot be reached")

        with monkeypatch.context() as outage:
            outage.setattr(desk.store, "append", away)
            outcomes = await asyncio.gather(*(desk.handle(AddLabel(f"{n}"), task) for n in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable] * 5
        assert len(asked) == 1
        assert (await desk.handle(AddLabel("later"), task)).version == 2


class TestLostReply:
    @pytest.mark.parametrize("key", [None, "k"], ids=["unkeyed", "keyed"])
    async def test_the_command_gets_its_receipt_and_happened_once(self, database_url: str, key: str | None) -> None:
        identity = uuid4()
        async with PostgresProxy(database_url) as proxy, open_store(proxy.url) as store:
            desk = await opened_desk(store)
            await desk.handle(CreateTask("Ship it"), identity)
            proxy.cut_replies()
            receipt = await desk.handle(RenameTask("Sail it"), identity, context(key))
            assert proxy.cuts == 1
            assert (receipt.version, receipt.position) == (2, FIRST + 2)
            assert await desk.recorded(identity, 1) == [TaskRenamed("Sail it")]
            recalled = store.recall(identity)
            assert recalled is None or recalled == await store.load(TASK, identity)
