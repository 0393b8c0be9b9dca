"""Every task command takes this way: load, authorise, decide, append, receipt."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from application.authorization import authorize
from application.log import (
    Append,
    EventStore,
    IdempotencyKey,
    LoadedTask,
    NewEvent,
    VersionConflict,
)
from application.principal import Principal
from application.receipts import Receipt, completed, receipt_start, replayed
from domain.errors import DomainError, InvalidValue, no_such_task, task_exists
from domain.task.commands import AssignTask, ChangeTask, CreateTask, ReassignTask, TaskCommand, command_fields
from domain.task.events import TaskEvent
from domain.task.rules import Task, decide, evolve

MOST_ATTEMPTS = 10
LONGEST_WAIT_FOR_TURN = 5.0
"""In seconds, behind other commands of this process for the same task."""


class Refused(Exception):
    """A refusal that is no rule of the domain. `position` is what it was decided at, where that is known."""

    position: int | None = None


class PreconditionFailed(Refused):
    """The task changed since the version in If-Match, in a field that matters to the command."""

    def __init__(self, version: int, fields: frozenset[str]) -> None:
        super().__init__(f"the task is at version {version}")
        self.version = version
        self.fields = fields


class NoSuchVersion(PreconditionFailed):
    """If-Match names no version that the task ever had: nothing that the client saw can be compared with it."""

    def __init__(self, version: int) -> None:
        super().__init__(version, frozenset())


class Contention(Refused):
    """Other writers kept changing the task between reading and appending, again and again."""


class IfMatch(msgspec.Struct, frozen=True):
    """The versions that the client would accept; `strict` refuses any later change, not just one of its fields.

    `versions` are those of the strong entity tags in If-Match that have the form of ours. Weak ones and strange ones match
    nothing (RFC 9110, 13.1.1), so that an empty tuple is a condition that does not hold.
    """

    versions: tuple[int, ...]
    strict: bool = False


class CommandContext(msgspec.Struct, frozen=True, gc=False):
    """Who issues a command, when, and what ties it to others. `effective_at` is for imported history only."""

    principal: Principal
    now: datetime
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    idempotency: IdempotencyKey | None = None
    if_match: IfMatch | None = None
    effective_at: datetime | None = None


MembersOf = Callable[[UUID], Awaitable[frozenset[UUID]]]


class CommandHandler:
    """Handles task commands over one log.

    `members_of` names the principals that a workspace's tasks can be assigned to.
    """

    def __init__(self, store: EventStore, members_of: MembersOf) -> None:
        self._store = store
        self._members_of = members_of
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def handle(
        self, command: TaskCommand, task_id: UUID, context: CommandContext, members: frozenset[UUID] | None = None
    ) -> Receipt:
        """Decide `command` and append what it means, durably; `members` of the workspace if they are known already.

        A decision on remembered state is believed only if the append proves it: a no-op or a refusal is
        decided again on state read from the log. Raises DomainError, PreconditionFailed, IdempotencyMismatch,
        Contention or LogUnavailable.
        """
        authorize(context.principal, command)
        try:
            if named := named_assignees(command):
                inside = await self._members_of(context.principal.workspace_id) if members is None else members
                _require_members(named, command, inside)
            receipt = await self._handle(command, task_id, context)
        except (DomainError, PreconditionFailed):
            # A refusal stands unless the key shows that this very request was accepted before.
            earlier = await self._earlier_answer(context)
            if earlier is None:
                raise
            receipt = earlier
        return replace(receipt, created=isinstance(command, CreateTask)) if receipt.replayed else receipt

    async def _handle(self, command: TaskCommand, task_id: UUID, context: CommandContext) -> Receipt:
        with suppress(VersionConflict):
            receipt = await self._decided_on_memory(command, task_id, context)
            return receipt or await self._decided_on_log(command, task_id, context)
        # Commands of this process that met on one task go on one by one: at once, each success would make
        # the next attempt of all others fail.
        turn = self._turns.setdefault(task_id, asyncio.Lock())
        try:
            await asyncio.wait_for(turn.acquire(), LONGEST_WAIT_FOR_TURN)
        except TimeoutError:
            raise Contention from None
        try:
            for _ in range(MOST_ATTEMPTS - 1):
                with suppress(VersionConflict):
                    return await self._decided_on_log(command, task_id, context)
        finally:
            turn.release()
        raise Contention

    async def _decided_on_memory(self, command: TaskCommand, task_id: UUID, context: CommandContext) -> Receipt | None:
        """The receipt if remembered state leads to events and the append proves it; a new task needs none."""
        remembered = self._store.recall(task_id)
        if remembered is None and not isinstance(command, CreateTask):
            return None
        try:
            events = await self._decide(command, task_id, remembered, context)
        except (DomainError, PreconditionFailed):
            return None
        return await self._append(task_id, remembered, events, context) if events else None

    async def _decided_on_log(self, command: TaskCommand, task_id: UUID, context: CommandContext) -> Receipt:
        loaded = await self._store.load(task_id)
        try:
            events = await self._decide(command, task_id, loaded, context)
        except (DomainError, PreconditionFailed) as refusal:
            # What is somebody else's leaves no trace in a refusal, and a creation cannot tell whose the id is.
            if loaded and loaded.workspace_id == context.principal.workspace_id and not isinstance(command, CreateTask):
                refusal.position = loaded.position
            raise
        return await self._append(task_id, loaded, events, context)

    async def _decide(
        self, command: TaskCommand, task_id: UUID, loaded: LoadedTask | None, context: CommandContext
    ) -> tuple[TaskEvent, ...]:
        if loaded is not None and loaded.workspace_id != context.principal.workspace_id:
            raise task_exists() if isinstance(command, CreateTask) else no_such_task()
        if context.if_match and loaded:
            await self._require_unchanged(command, task_id, loaded, context.if_match)
        return decide(loaded.task if loaded else None, command, context.now)

    async def _require_unchanged(self, command: TaskCommand, task_id: UUID, loaded: LoadedTask, if_match: IfMatch) -> None:
        if loaded.version in if_match.versions:
            return
        # The newest that was seen has the fewest changes after it: what clashes with that one clashes with all.
        seen = max((version for version in if_match.versions if 0 < version < loaded.version), default=0)
        if not seen:
            raise NoSuchVersion(loaded.version)
        touched = await self._store.touched_since(task_id, seen)
        clash = touched if if_match.strict else touched & command_fields(command)
        if clash or if_match.strict:
            raise PreconditionFailed(loaded.version, clash)

    async def _append(
        self,
        task_id: UUID,
        loaded: LoadedTask | None,
        events: tuple[TaskEvent, ...],
        context: CommandContext,
    ) -> Receipt:
        before = loaded.version if loaded else 0
        version = before + len(events)
        start = receipt_start(task_id, version)
        if not events and not context.idempotency and loaded:
            return Receipt(task_id, version, loaded.position, completed(start, loaded.position), changed=False)
        principal = context.principal
        appended = await self._store.append(
            Append(
                principal.workspace_id,
                principal.principal_id,
                context.command_id,
                context.correlation_id,
                context.causation_id,
                tuple(
                    NewEvent(task_id, before + number, event, context.effective_at) for number, event in enumerate(events, 1)
                ),
                start,
                context.idempotency,
            )
        )
        if appended.replayed and context.idempotency:
            return replayed(appended.receipt)
        # A replay answers with the time of the second sending, which is not when it happened.
        if events and not appended.replayed:
            task: Task | None = loaded.task if loaded else None
            for event in events:
                task = evolve(task, event)
            assert task is not None  # noqa: S101 - there was at least one event
            happened_at = context.effective_at or appended.recorded_at
            self._store.remember(task_id, LoadedTask(task, version, appended.position, principal.workspace_id, happened_at))
        return Receipt(task_id, version, appended.position, appended.receipt, before == 0, bool(events))

    async def _earlier_answer(self, context: CommandContext) -> Receipt | None:
        if context.idempotency is None:
            return None
        principal = context.principal
        stored = await self._store.find_receipt(principal.workspace_id, principal.principal_id, context.idempotency)
        return replayed(stored.receipt) if stored else None


def _require_members(named: frozenset[UUID], command: TaskCommand, members: frozenset[UUID]) -> None:
    if not named <= members:
        field = "assignee" if isinstance(command, AssignTask | ReassignTask) else "assignees"
        raise InvalidValue("unknown_assignee", "an assignee is not a member of this workspace", field)


def named_assignees(command: TaskCommand) -> frozenset[UUID]:
    """Whom the command puts on the task."""
    if isinstance(command, AssignTask | ReassignTask):
        return frozenset({command.assignee})
    if isinstance(command, CreateTask):
        return frozenset(command.assignees)
    if isinstance(command, ChangeTask) and command.assignees is not msgspec.UNSET:
        return frozenset(command.assignees)
    return frozenset()
