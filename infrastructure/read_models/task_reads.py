"""Reads for the API: from Redis where it is whole, else from Postgres, and never older than the caller's minimum position."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from application.log import LogUnavailable
from infrastructure.log.places import AheadOfLog, Place, require_place
from infrastructure.log.rows import HEAD
from infrastructure.log.watch import LogWatch
from infrastructure.read_models.applied_positions import AppliedPositions
from infrastructure.read_models.diff_reads import Differences, differences
from infrastructure.read_models.hot_reader import HotReader, HotUnavailable
from infrastructure.read_models.past_reads import by_instant, find_as_of
from infrastructure.read_models.together import Shared, Together
from infrastructure.servers.postgres import AsyncPool, is_of_another_release
from infrastructure.unavailable import Unavailable
from projections import FEED, HOT
from projections.feed.feed import ANY_VERSION, Entries, changes_after, changes_with_tasks, history_of
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor, Page
from projections.task.hot import PAGE_SIZE, HotPage, read_task
from projections.task.list import find_tasks, get_tasks
from projections.task.list_as_of import NOW, count_tasks
from projections.task.list_diff import Side
from projections.task.list_query import TaskQuery

T = TypeVar("T")
Found = tuple[tuple[int, bytes] | None, int]
Connection = psycopg.AsyncConnection[Any]

HOT_ALONE_SECONDS = 0.1
"""How long a read waits for Redis alone before what Postgres has will do as well."""

TASKS_AT_ONCE = 64


class Positioned(Protocol):
    """An answer that says which position it reflects."""

    @property
    def position(self) -> int:
        """The position."""


P = TypeVar("P", bound=Positioned)


class NotYetApplied(Exception):
    """The read model has not reached the minimum position within the time allowed."""

    def __init__(self, position: int, wanted: int) -> None:
        super().__init__(f"the read model is at {position}, not yet at {wanted}")
        self.position = position
        self.wanted = wanted


class Wait:
    """What a read asks for: at least position `minimum`, waiting at most `seconds`."""

    __slots__ = ("minimum", "seconds")

    def __init__(self, minimum: int = 0, seconds: float = 0.0) -> None:
        self.minimum = minimum
        self.seconds = seconds


class TaskReads:
    """The reads of one log. Everything here may raise NotYetApplied, AheadOfLog, LogUnavailable or Unavailable."""

    def __init__(self, hot: HotReader, pool: AsyncPool, positions: AppliedPositions, watch: LogWatch | None = None) -> None:
        self._hot = hot
        self._pool = pool
        self._positions = positions
        self._watch = watch
        self._tasks: Together[tuple[UUID, UUID], Found] = Together(self._get_tasks, TASKS_AT_ONCE)
        self._pages: Shared[UUID, HotPage] = Shared(self._first_page)
        self._counts: Shared[UUID, tuple[dict[str, int], int]] = Shared(self._count)

    async def task(self, workspace_id: UUID, task_id: UUID, wait: Wait) -> Found:
        """A task's version and JSON (None where there is none), and the position that this reflects."""

        missing_at = -1

        async def hot() -> Found:
            nonlocal missing_at
            position, value = await self._hot.read(self._hot.keys.task(workspace_id, task_id))
            if value is None:
                # A key can be lost, so that it is missing says nothing.
                missing_at = position
                raise HotUnavailable
            return read_task(value), position

        async def table() -> Found:
            found, position = await self._tasks.ask((workspace_id, task_id))
            if found is not None and position <= missing_at:
                self._hot.mark_damaged(f"task {task_id} is missing")
            return found, position

        return await self._hot_or_table(hot, table, _second, wait)

    async def first_page(self, workspace_id: UUID, wait: Wait) -> HotPage:
        """The first page of the workspace's default list."""
        # The most frequent read of all goes the short way where it can.
        try:
            page = await self._hot.page(workspace_id)
            if page.position >= wait.minimum:
                return page
        except HotUnavailable:
            pass
        return await self._hot_or_table(
            lambda: self._hot.page(workspace_id), lambda: self._pages.ask(workspace_id), _position, wait
        )

    async def counts(
        self, workspace_id: UUID, wait: Wait, as_of: AsOf = NOW, project: UUID | None = None
    ) -> tuple[dict[str, int], int]:
        """The tasks of the workspace or of one of its projects by status, now or at a moment, and the position that the read
        model had reached."""
        if as_of is NOW and project is None:
            return await self._hot_or_table(
                lambda: self._hot.counts(workspace_id), lambda: self._counts.ask(workspace_id), _second, wait
            )

        async def table() -> tuple[dict[str, int], int]:
            async with self.connection() as connection:
                return await count_tasks(connection, workspace_id, as_of, project)

        return await self._table("task_list", table, _second, wait)

    async def find(
        self,
        workspace_id: UUID,
        query: TaskQuery,
        after: ListCursor | None,
        room: Room,
        wait: Wait,
        as_of: AsOf | None = None,
    ) -> Page:
        """A page of any list, from Postgres, at a moment if one is given."""
        if as_of is not None:
            moment = as_of
            return await self.read("task_list", lambda c: find_as_of(c, workspace_id, query, after, room, moment), wait)
        return await self.read("task_list", lambda c: find_tasks(c, workspace_id, query, after, room), wait)

    async def by_instant(self, instant: datetime) -> AsOf:
        """The moment of an instant."""
        async with self.connection() as connection:
            return await by_instant(connection, instant)

    async def differences(
        self, workspace_id: UUID, sides: tuple[Side, Side], after: int, room: Room, wait: Wait
    ) -> Differences:
        """What became of a list between two moments, of tasks added after `after`."""
        return await self.read("task_list", lambda c: differences(c, workspace_id, sides, after, room), wait)

    async def history(
        self,
        workspace_id: UUID,
        stream: tuple[str, UUID],
        after_version: int,
        room: Room,
        wait: Wait,
        until_version: int = ANY_VERSION,
    ) -> Entries:
        """The timeline of a stream, named by its aggregate and its id, after a version, up to another."""
        return await self.read(
            FEED.name, lambda c: history_of(c, workspace_id, stream, after_version, room, until_version), wait
        )

    async def changes(
        self,
        workspace_id: UUID,
        after: Place,
        room: Room,
        wait: Wait,
        with_tasks: bool = False,
        project: UUID | None = None,
    ) -> Entries:
        """The workspace's timeline after a place in the log, or one project's; may raise AnotherHistory."""
        query = changes_with_tasks if with_tasks else changes_after

        async def ask(connection: Connection) -> Entries:
            await require_place(connection, after, "after")
            return await query(connection, workspace_id, after.position, room, project)

        return await self.read(FEED.name, ask, wait)

    async def read(self, projection: str, ask: Callable[[Connection], Awaitable[P]], wait: Wait) -> P:
        """Any answer of a read model in Postgres, not older than `wait` allows."""

        async def table() -> P:
            async with self.connection() as connection:
                return await ask(connection)

        return await self._table(projection, table, _position, wait)

    async def hot_position(self) -> int:
        """How far the read model in Redis has come; raises HotUnavailable."""
        try:
            return await self._hot.position()
        except HotUnavailable:
            # It may only be that another generation is served by now.
            await self._hot.find_generation()
            return await self._hot.position()

    async def evicts(self) -> str | None:
        """Redis's eviction policy if it has one; raises HotUnavailable."""
        return await self._hot.evicts()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A read connection; raises LogUnavailable where Postgres is away, Unavailable for tables of another release."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise LogUnavailable("Postgres cannot be reached") from error
        except psycopg.Error as error:
            if is_of_another_release(error):
                raise Unavailable(f"the tables are those of another release: {error}") from error
            raise

    async def _get_tasks(self, wanted: list[tuple[UUID, UUID]]) -> list[Found]:
        async with self.connection() as connection:
            return await get_tasks(connection, wanted)

    async def _first_page(self, workspace_id: UUID) -> HotPage:
        async with self.connection() as connection:
            page = await find_tasks(connection, workspace_id, TaskQuery(), None, Room(PAGE_SIZE))
        items = b"[" + b",".join(page.items) + b"]"
        return HotPage(items, page.after.created_position if page.after else None, page.position)

    async def _count(self, workspace_id: UUID) -> tuple[dict[str, int], int]:
        async with self.connection() as connection:
            return await count_tasks(connection, workspace_id)

    async def _hot_or_table(
        self,
        hot: Callable[[], Awaitable[T]],
        table: Callable[[], Awaitable[T]],
        position_of: Callable[[T], int],
        wait: Wait,
    ) -> T:
        clock = asyncio.get_running_loop().time
        until = clock() + wait.seconds
        try:
            since = self._positions.now
            answer = await hot()
            if position_of(answer) >= wait.minimum:
                return answer
            self._positions.found(HOT, position_of(answer), since)
            await self._require_reached(wait.minimum)
            for projections, seconds in (((HOT,), HOT_ALONE_SECONDS), ((HOT, "task_list"), wait.seconds)):
                if await self._positions.wait_for(projections, wait.minimum, min(seconds, until - clock())):
                    since = self._positions.now
                    answer = await hot()
                    if position_of(answer) >= wait.minimum:
                        return answer
                    self._positions.found(HOT, position_of(answer), since)
        except HotUnavailable:
            pass
        # Redis is away, or answers and stays behind, as it does when it is full. Postgres need not be.
        return await self._table("task_list", table, position_of, Wait(wait.minimum, max(0.0, until - clock())))

    async def _table(
        self, projection: str, table: Callable[[], Awaitable[T]], position_of: Callable[[T], int], wait: Wait
    ) -> T:
        clock = asyncio.get_running_loop().time
        until, first = clock() + wait.seconds, True
        while True:
            since = self._positions.now
            await self._require_in_place(projection)
            answer = await table()
            position = position_of(answer)
            if position >= wait.minimum:
                return answer
            self._positions.found(projection, position, since)
            if first:
                await self._require_reached(wait.minimum)
            first = False
            if not await self._positions.wait_for((projection,), wait.minimum, until - clock()):
                raise NotYetApplied(position, wait.minimum)

    async def _require_in_place(self, projection: str) -> None:
        """What is known to reflect another history, as after a restore, is not served until it has been built again."""
        if self._watch is None:
            return
        if self._watch.state == "doubtful":
            await self._watch.settle()
        if self._watch.is_elsewhere(projection):
            raise Unavailable(f"the read model {projection} reflects another history and is being rebuilt")

    async def _require_reached(self, minimum: int) -> None:
        async with self.connection() as connection:
            cursor = await connection.execute(HEAD, prepare=True)
            row = await cursor.fetchone()
        head = int(row[0]) if row else 0
        if minimum > head:
            raise AheadOfLog(head, minimum)


def _position(answer: Positioned) -> int:
    return answer.position


def _second(answer: tuple[Any, int]) -> int:
    return answer[1]
