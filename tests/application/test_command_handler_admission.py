"""The command handler: If-Match, permissions, assignees."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from application.command_handler import IfMatch, NoSuchVersion, PreconditionFailed
from domain.errors import DomainError, InvalidValue, NotFound, NotPermitted, RuleViolated
from domain.task.commands import (
    AssignTask,
    CancelTask,
    ChangeTask,
    CompleteTask,
    CreateTask,
    DescribeTask,
    RenameTask,
    SetPriority,
    TaskCommand,
)
from infrastructure.log import event_store
from tests.application.handler_under_test import Desk, a_desk, a_principal, context, members
from tests.domain.task.test_lifecycle import ALL_BUT_CREATE, named
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log_under_test import ANA, BEN

pytestmark = pytest.mark.anyio
CREATE = CreateTask("Ship it")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["postgres", "memory"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        yield Desk(InMemoryEventStore(lambda: datetime.now(UTC)))
        return
    async with a_desk(request.getfixturevalue("database_url")) as opened:
        yield opened


class TestIfMatch:
    async def test_at_the_present_version_it_is_applied(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        assert (await desk.handle(RenameTask("a"), task, context(if_match=IfMatch((1,))))).version == 2

    async def test_another_field_may_have_changed(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(SetPriority("high"), task)
        assert (await desk.handle(RenameTask("a"), task, context(if_match=IfMatch((1,))))).version == 3

    async def test_the_same_field_may_not(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(ChangeTask(title="b", priority="low"), task)
        with pytest.raises(PreconditionFailed) as refusal:
            await desk.handle(ChangeTask(title="a", description="c"), task, context(if_match=IfMatch((1,))))
        assert (refusal.value.version, refusal.value.fields) == (3, frozenset({"title"}))
        assert await desk.version(task) == 3

    async def test_if_strict_no_field_may_have_changed(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(SetPriority("high"), task)
        with pytest.raises(PreconditionFailed) as refusal:
            await desk.handle(RenameTask("a"), task, context(if_match=IfMatch((1,), strict=True)))
        assert (refusal.value.version, refusal.value.fields) == (2, frozenset({"priority"}))

    async def test_if_strict_the_present_version_is_applied(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        given = context(if_match=IfMatch((1,), strict=True))
        assert (await desk.handle(RenameTask("a"), task, given)).version == 2

    @pytest.mark.parametrize("versions", [(2,), (0,), (9, 8), ()])
    async def test_a_version_that_never_was_is_refused_in_words_of_its_own(self, desk: Desk, versions: tuple[int, ...]) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        with pytest.raises(NoSuchVersion) as refusal:
            await desk.handle(RenameTask("a"), task, context(if_match=IfMatch(versions)))
        assert (refusal.value.version, await desk.version(task)) == (1, 1)

    async def test_of_several_versions_one_that_fits_is_enough(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        await desk.handle(RenameTask("a"), task)
        await desk.handle(SetPriority("high"), task)
        with pytest.raises(PreconditionFailed):
            await desk.handle(RenameTask("b"), task, context(if_match=IfMatch((1, 9))))
        assert (await desk.handle(RenameTask("b"), task, context(if_match=IfMatch((9, 2, 1))))).version == 4

    @pytest.mark.parametrize("desk", ["postgres"], indirect=True)
    async def test_after_too_many_changes_every_field_counts_as_changed(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_store, "MOST_VERSIONS_BACK", 3)
        task = uuid4()
        await desk.handle(CREATE, task)
        for number in range(3):
            await desk.handle(SetPriority("low" if number % 2 else "high"), task)
        assert (await desk.handle(RenameTask("a"), task, context(if_match=IfMatch((1,))))).version == 5
        with pytest.raises(PreconditionFailed) as refusal:
            await desk.handle(DescribeTask("b"), task, context(if_match=IfMatch((1,))))
        assert refusal.value.fields == {"description"}

    async def test_of_equal_commands_at_once_only_one_is_applied(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        outcomes = await asyncio.gather(
            *(desk.handle(RenameTask(f"t{n}"), task, context(if_match=IfMatch((1,)))) for n in range(5)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 4
        assert await desk.version(task) == 2


class TestPositions:
    async def test_a_refusal_says_which_position_of_the_task_it_was_decided_at(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        receipt = await desk.handle(CompleteTask(), task)
        await desk.handle(CREATE, uuid4())
        for command, given in (
            (CancelTask(), context()),
            (RenameTask(" "), context()),
            (RenameTask("a"), context(if_match=IfMatch((7,)))),
            (CompleteTask(), context(if_match=IfMatch((1,)))),
        ):
            with pytest.raises((DomainError, PreconditionFailed)) as refusal:
                await desk.handle(command, task, given)
            assert refusal.value.position == receipt.position  # type: ignore[union-attr]  # both kinds have one

    async def test_what_is_not_the_principals_leaves_no_position(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        stranger = a_principal(uuid4())
        for command, stream in ((CompleteTask(), task), (CREATE, task), (CompleteTask(), uuid4())):
            with pytest.raises(DomainError) as refusal:
                await desk.handle(command, stream, context(principal=stranger))
            assert refusal.value.position is None


class TestPermission:
    async def test_a_task_of_another_workspace_is_not_found(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        with pytest.raises(NotFound) as refusal:
            await desk.handle(DescribeTask("x"), task, context(principal=a_principal(uuid4())))
        assert refusal.value.code == "task_not_found"
        assert await desk.version(task) == 1

    async def test_a_task_of_another_workspace_cannot_be_created_over(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CREATE, task)
        with pytest.raises(RuleViolated) as elsewhere:
            await desk.handle(CREATE, task, context(principal=a_principal(uuid4())))
        with pytest.raises(RuleViolated) as here:
            await desk.handle(CREATE, task)
        assert vars(elsewhere.value) == vars(here.value)
        assert await desk.version(task) == 1

    async def test_a_key_is_not_found_from_another_workspace(self, desk: Desk) -> None:
        await desk.handle(CREATE, uuid4(), context("k"))
        elsewhere = await desk.handle(CREATE, uuid4(), context("k", principal=a_principal(uuid4())))
        assert not elsewhere.replayed

    @pytest.mark.parametrize("command", [CREATE, *ALL_BUT_CREATE], ids=named)
    async def test_an_unknown_role_may_do_nothing(self, command: TaskCommand) -> None:
        desk = Desk(InMemoryEventStore(lambda: datetime.now(UTC)))
        with pytest.raises(NotPermitted):
            await desk.handle(command, uuid4(), context(principal=a_principal(role="guest")))


class TestAssignees:
    @pytest.mark.parametrize(
        ("command", "field"),
        [
            (AssignTask(uuid4()), "assignee"),
            (ChangeTask(assignees=(ANA, uuid4())), "assignees"),
            (CreateTask("Ship it", assignees=(uuid4(),)), "assignees"),
        ],
        ids=["assign", "change", "create"],
    )
    async def test_one_who_is_no_member_is_refused(self, desk: Desk, command: TaskCommand, field: str) -> None:
        task = uuid4()
        if not isinstance(command, CreateTask):
            await desk.handle(CREATE, task)
        before = await desk.version(task)
        with pytest.raises(InvalidValue) as refusal:
            await desk.handle(command, task)
        assert (refusal.value.code, refusal.value.field) == ("unknown_assignee", field)
        assert await desk.version(task) == before

    async def test_members_are_accepted(self, desk: Desk) -> None:
        task = uuid4()
        await desk.handle(CreateTask("Ship it", assignees=(ANA,)), task)
        assert (await desk.handle(AssignTask(BEN), task)).version == 2
        assert await members(uuid4()) == {ANA, BEN}
