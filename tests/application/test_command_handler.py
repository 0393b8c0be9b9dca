"""The command handler: receipts, idempotency, refusals."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from application.command_handler import CommandHandler, IfMatch
from application.log import IdempotencyMismatch
from application.receipts import ReceiptBody
from application.task_assignees import AssigneesAreMembers
from application.turns import Turns
from domain.errors import InvalidValue, NotFound, RuleViolated
from domain.project.values import first_project_of
from domain.task.aggregate import TASK
from domain.task.commands import (
    AddLabel,
    AssignTask,
    ChangeTask,
    CompleteTask,
    CreateTask,
    DeleteTask,
    RenameTask,
    TaskCommand,
)
from domain.task.events import TaskCreated, TaskPrioritySet, TaskRenamed
from tests.application.handler_under_test import FIRST, Desk, a_desk, context, opened_desk
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log_under_test import ANA, BEN, WORKSPACE

pytestmark = pytest.mark.anyio
CREATE = CreateTask("Ship it")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["postgres", "memory"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        yield await opened_desk(InMemoryEventStore(lambda: datetime.now(UTC)))
        return
    async with a_desk(request.getfixturevalue("database_url")) as opened:
        yield opened


class TestReceipt:
    async def test_a_creation_is_version_one(self, desk: Desk) -> None:
        task = uuid4()
        receipt = await desk.handle(CREATE, task)
        assert (receipt.stream_id, receipt.version, receipt.position) == (task, 1, FIRST + 1)
        assert (receipt.created, receipt.changed, receipt.replayed) == (True, True, False)

    async def test_a_change_says_its_version_and_position(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(CREATE, uuid4())
        receipt = await desk.handle(ChangeTask(title="Sail it", priority="high"), task)
        assert (receipt.version, receipt.position) == (3, FIRST + 4)
        assert (receipt.created, receipt.changed, receipt.replayed) == (False, True, False)
        assert await desk.recorded(task, 1) == [TaskRenamed("Sail it"), TaskPrioritySet("high")]

    async def test_the_body_says_the_same(self, desk: Desk) -> None:
        receipt = await desk.handle(CREATE, uuid4(), context("k"))
        body = msgspec.json.decode(receipt.body, type=ReceiptBody)
        [event] = await desk.records(receipt.stream_id)
        assert body == ReceiptBody(receipt.stream_id, receipt.version, receipt.position, number=1, hash=event.hash.hex())

    @pytest.mark.parametrize("key", [None, "k"])
    async def test_no_change_is_receipted_at_the_present_version(self, desk: Desk, key: str | None) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        receipt = await desk.handle(RenameTask("Ship it"), task, context(key))
        assert (receipt.version, receipt.position, receipt.changed) == (1, FIRST + 1, False)
        assert msgspec.json.decode(receipt.body, type=ReceiptBody) == ReceiptBody(task, 1, FIRST + 1)
        assert await desk.version(task) == 1

    async def test_an_imported_command_keeps_its_time(self, desk: Desk) -> None:
        task = uuid4()
        then = datetime(2019, 5, 4, tzinfo=UTC)
        await desk.handle(CREATE, task, context(effective_at=then))
        recalled, loaded = desk.store.recall(task), await desk.store.load(TASK, task)
        assert recalled is not None
        assert recalled == loaded
        assert recalled.happened_at == then

    async def test_what_is_remembered_is_what_the_log_says(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(ChangeTask(title="Sail it", labels=("a", "b")), task)
        recalled = desk.store.recall(task)
        assert recalled is not None
        assert recalled == await desk.store.load(TASK, task)


class TestIdempotencyKey:
    async def test_equal_requests_at_once_make_one_task(self, desk: Desk) -> None:
        tasks = [uuid4() for _ in range(10)]
        receipts = await asyncio.gather(*(desk.handle(CREATE, task, context("k")) for task in tasks))
        assert len({receipt.body for receipt in receipts}) == 1
        assert sorted(receipt.replayed for receipt in receipts) == [False] + [True] * 9
        assert sum([await desk.version(task) for task in tasks]) == 1

    async def test_another_request_with_the_key_is_a_mismatch(self, desk: Desk) -> None:
        await desk.handle(CREATE, uuid4(), context("k"))
        with pytest.raises(IdempotencyMismatch):
            await desk.handle(CREATE, uuid4(), context("k", request="another"))

    async def test_a_refused_request_with_a_key_of_another_is_a_mismatch(self, desk: Desk) -> None:
        await desk.handle(CREATE, uuid4(), context("k"))
        with pytest.raises(IdempotencyMismatch):
            await desk.handle(RenameTask("x"), uuid4(), context("k", request="another"))

    @pytest.mark.parametrize(
        "command",
        [AddLabel("a"), RenameTask("Ship it"), AssignTask(BEN)],
        ids=["change", "no-op", "assignment"],
    )
    async def test_a_retry_after_the_deletion_gets_the_original_receipt(self, desk: Desk, command: TaskCommand) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        original = await desk.handle(command, task, context("k"))
        deleted = await desk.handle(DeleteTask(), task)
        again = await desk.handle(command, task, context("k"))
        assert (again.body, again.version, again.position, again.replayed) == (
            original.body,
            original.version,
            original.position,
            True,
        )
        assert await desk.version(task) == deleted.version

    async def test_a_creation_retried_after_the_deletion_gets_the_original_receipt(self, desk: Desk) -> None:
        task = uuid4()
        original = await desk.handle(CREATE, task, context("k"))
        await desk.handle(DeleteTask(), task)
        retries = [await desk.handle(CREATE, each, context("k")) for each in (task, uuid4())]
        assert [retry.body for retry in retries] == [original.body] * 2

    async def test_a_retry_after_the_assignee_has_left_gets_the_original_receipt(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        original = await desk.handle(AssignTask(BEN), task, context("k"))

        async def without_ben(workspace_id: UUID) -> frozenset[UUID]:
            return frozenset({ANA})

        later = CommandHandler(TASK, desk.store, AssigneesAreMembers(without_ben), Turns())
        again = await later.handle(AssignTask(BEN), task, context("k"))
        assert (again.body, again.replayed) == (original.body, True)

    async def test_a_retry_with_a_stale_if_match_gets_the_original_receipt(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        original = await desk.handle(RenameTask("Sail it"), task, context("k", if_match=IfMatch((1,))))
        again = await desk.handle(RenameTask("Sail it"), task, context("k", if_match=IfMatch((1,))))
        assert (again.body, again.replayed) == (original.body, True)

    async def test_a_refusal_does_not_use_up_its_key(self, desk: Desk) -> None:
        task = uuid4()
        with pytest.raises(NotFound):
            await desk.handle(RenameTask("Sail it"), task, context("k"))
        await desk.handle(CREATE, task)
        assert not (await desk.handle(RenameTask("Sail it"), task, context("k"))).replayed


class TestRefusal:
    async def test_a_broken_rule_is_refused_and_writes_nothing(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        with pytest.raises(RuleViolated):
            await desk.handle(CREATE, task)
        assert await desk.recorded(task) == [TaskCreated("Ship it", project_id=first_project_of(WORKSPACE))]

    async def test_the_time_that_counts_is_the_contexts(self, desk: Desk) -> None:
        far = datetime(2200, 1, 1, tzinfo=UTC)
        command = CreateTask("Ship it", due_at=far)
        with pytest.raises(InvalidValue):
            await desk.handle(command, uuid4())
        assert (await desk.handle(command, uuid4(), context(now=far - timedelta(days=1)))).created

    async def test_completing_a_task_nobody_knows_is_not_found(self, desk: Desk) -> None:
        with pytest.raises(NotFound):
            await desk.handle(CompleteTask(), uuid4())
