"""A command handler over a real log, with few words for who asks and what is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from application.authorization import MEMBER
from application.command_handler import CommandContext, CommandHandler, IfMatch
from application.first_project import FirstProjects
from application.log import EventStore, IdempotencyKey
from application.principal import Principal
from application.receipts import Receipt
from application.task_assignees import AssigneesAreMembers
from application.turns import Turns
from domain.envelope import Erased
from domain.task.aggregate import TASK
from domain.task.commands import TaskCommand
from domain.task.events import TaskEvent
from infrastructure.log.event_store import PostgresEventStore
from infrastructure.log.rows import Record
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log_under_test import ANA, BEN, WORKSPACE, open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def members(workspace_id: UUID) -> frozenset[UUID]:
    """Ana and Ben, in whichever workspace."""
    return frozenset({ANA, BEN})


def a_principal(workspace_id: UUID = WORKSPACE, role: str = MEMBER) -> Principal:
    return Principal(ANA, UUID(int=1), workspace_id, "main", role, 2**40)


def context(
    key: str | None = None,
    *,
    request: str = "the request",
    if_match: IfMatch | None = None,
    principal: Principal | None = None,
    now: datetime = NOW,
    effective_at: datetime | None = None,
) -> CommandContext:
    """A request of its own, under a fresh command id."""
    command_id = uuid7()
    idempotency = IdempotencyKey(key, sha256(request.encode()).digest()) if key else None
    return CommandContext(
        principal=principal or a_principal(),
        now=now,
        command_id=command_id,
        correlation_id=command_id,
        idempotency=idempotency,
        if_match=if_match,
        effective_at=effective_at,
    )


class Desk:
    """A handler with its store: one process of the API."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.first_projects = FirstProjects(store)
        self.handler = CommandHandler(TASK, store, AssigneesAreMembers(members), Turns(), remedy=self.first_projects)

    async def handle(self, command: TaskCommand, task: UUID, given: CommandContext | None = None) -> Receipt:
        return await self.handler.handle(command, task, given or context())

    async def records(self, task: UUID, after: int = 0) -> list[Record]:
        """The task's events after a version, as the log holds them."""
        if isinstance(self.store, PostgresEventStore):
            return await self.store.events_of(task, after)
        assert isinstance(self.store, InMemoryEventStore)
        return [r for r in self.store.events if r.stream_id == task and r.version > after]

    async def recorded(self, task: UUID, after: int = 0) -> list[TaskEvent | Erased]:
        """The task's events after a version."""
        return [record.event for record in await self.records(task, after)]

    async def version(self, task: UUID) -> int:
        """The task's newest version in the log, 0 where there is none."""
        return len(await self.recorded(task))


FIRST: Final = 1
"""Where the workspace's first project stands in a log that begins with it."""


async def opened_desk(store: EventStore) -> Desk:
    """A handler, and the workspace's first project in the log: what a registered user finds."""
    desk = Desk(store)
    await desk.first_projects.make(WORKSPACE, ANA)
    return desk


@asynccontextmanager
async def a_desk(database_url: str) -> AsyncIterator[Desk]:
    """A handler over the log in PostgreSQL, and the workspace's first project in it."""
    async with open_store(database_url) as store:
        yield await opened_desk(store)
