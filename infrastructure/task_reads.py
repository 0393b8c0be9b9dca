"""Reads for the API: from Redis where it is whole, else from Postgres, and never older than the caller's minimum position."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from application.ports import LogUnavailable
from infrastructure.applied_positions import AppliedPositions
from infrastructure.hot_reader import HotReader, HotUnavailable
from infrastructure.log_places import AheadOfLog
from infrastructure.postgres import AsyncPool
from projections import HOT
from projections.hot_tasks import PAGE_SIZE, HotPage, read_task
from projections.task_history import Entries, changes_after, history_of
from projections.task_list import ListCursor, Page, TaskQuery, count_tasks, find_tasks, get_task

T = TypeVar("T")


class NotYetApplied(Exception):
    """The read model has not reached the minimum position within the time allowed."""

    def __init__(self, position: int, wanted: int) -> None:
        super().__init__(f"the read model is at {position}, not yet at {wanted}")
        self.position = position
        self.wanted = wanted


def _position_of_page(page: HotPage) -> int:
    return page.position


class Wait:
    """What a read asks for: at least position `minimum`, waiting at most `seconds`."""

    __slots__ = ("minimum", "seconds")

    def __init__(self, minimum: int = 0, seconds: float = 0.0) -> None:
        self.minimum = minimum
        self.seconds = seconds


class TaskReads:
    """The reads of one log. Everything here may raise NotYetApplied, AheadOfLog or LogUnavailable."""

    def __init__(self, hot: HotReader, pool: AsyncPool, positions: AppliedPositions) -> None:
        self._hot = hot
        self._pool = pool
        self._positions = positions

    async def task(self, workspace_id: UUID, task_id: UUID, wait: Wait) -> tuple[tuple[int, bytes] | None, int]:
        """A task's version and JSON (None where there is none), and the position that this reflects."""

        async def hot() -> tuple[tuple[int, bytes] | None, int]:
            position, value = await self._hot.read(self._hot.keys.task(workspace_id, task_id))
            return read_task(value) if value else None, position

        async def table() -> tuple[tuple[int, bytes] | None, int]:
            async with self.connection() as connection:
                return await get_task(connection, workspace_id, task_id)

        return await self._hot_or_table(hot, table, lambda answer: answer[1], wait)

    async def first_page(self, workspace_id: UUID, wait: Wait) -> HotPage:
        """The first page of the workspace's default list."""
        # The most frequent read of all goes the short way where it can.
        try:
            page = await self._hot.page(workspace_id)
            if page.position >= wait.minimum:
                return page
        except HotUnavailable:
            pass

        async def table() -> HotPage:
            async with self.connection() as connection:
                page = await find_tasks(connection, workspace_id, TaskQuery(), None, PAGE_SIZE)
            items = b"[" + b",".join(page.items) + b"]"
            return HotPage(items, page.after.created_position if page.after else None, page.position)

        return await self._hot_or_table(lambda: self._hot.page(workspace_id), table, _position_of_page, wait)

    async def counts(self, workspace_id: UUID, wait: Wait) -> tuple[dict[str, int], int]:
        """The workspace's tasks by status, and the position."""

        async def table() -> tuple[dict[str, int], int]:
            async with self.connection() as connection:
                return await count_tasks(connection, workspace_id)

        return await self._hot_or_table(lambda: self._hot.counts(workspace_id), table, lambda answer: answer[1], wait)

    async def find(self, workspace_id: UUID, query: TaskQuery, after: ListCursor | None, limit: int, wait: Wait) -> Page:
        """A page of any list, from Postgres."""

        async def table() -> Page:
            async with self.connection() as connection:
                return await find_tasks(connection, workspace_id, query, after, limit)

        return await self._table("task_list", table, lambda page: page.position, wait)

    async def history(self, workspace_id: UUID, task_id: UUID, after_version: int, limit: int, wait: Wait) -> Entries:
        """A task's timeline after a version."""

        async def table() -> Entries:
            async with self.connection() as connection:
                return await history_of(connection, workspace_id, task_id, after_version, limit)

        return await self._table("task_history", table, lambda entries: entries.position, wait)

    async def changes(self, workspace_id: UUID, after: int, limit: int, wait: Wait) -> Entries:
        """The workspace's timeline after a position."""

        async def table() -> Entries:
            async with self.connection() as connection:
                return await changes_after(connection, workspace_id, after, limit)

        return await self._table("task_history", table, lambda entries: entries.position, wait)

    async def reach(self, projection: str, wait: Wait) -> None:
        """Wait until a Postgres read model has reached the minimum."""
        if self._positions.known(projection) >= wait.minimum:
            return
        await self._require_reached(wait.minimum)
        if not await self._positions.wait_for(projection, wait.minimum, wait.seconds):
            raise NotYetApplied(self._positions.known(projection), wait.minimum)

    async def hot_position(self) -> int:
        """How far the read model in Redis has come; raises HotUnavailable."""
        return await self._hot.position()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A read connection; raises LogUnavailable where Postgres is away."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise LogUnavailable("Postgres cannot be reached") from error

    async def _hot_or_table(
        self,
        hot: Callable[[], Awaitable[T]],
        table: Callable[[], Awaitable[T]],
        position_of: Callable[[T], int],
        wait: Wait,
    ) -> T:
        try:
            answer = await hot()
            if position_of(answer) >= wait.minimum:
                return answer
            await self._require_reached(wait.minimum)
            if await self._positions.wait_for(HOT, wait.minimum, wait.seconds):
                answer = await hot()
                if position_of(answer) >= wait.minimum:
                    return answer
        except HotUnavailable:
            return await self._table("task_list", table, position_of, wait)
        # Redis answers and stays behind, as it does when it is full. Postgres need not be.
        return await self._table("task_list", table, position_of, Wait(wait.minimum, 0.0))

    async def _table(
        self, projection: str, table: Callable[[], Awaitable[T]], position_of: Callable[[T], int], wait: Wait
    ) -> T:
        answer = await table()
        if position_of(answer) >= wait.minimum:
            return answer
        self._positions.note(projection, position_of(answer))
        await self.reach(projection, wait)
        answer = await table()
        if position_of(answer) < wait.minimum:
            raise NotYetApplied(position_of(answer), wait.minimum)
        return answer

    async def _require_reached(self, minimum: int) -> None:
        async with self.connection() as connection:
            cursor = await connection.execute("SELECT coalesce(max(notification_id), 0) FROM events", prepare=True)
            row = await cursor.fetchone()
        head = int(row[0]) if row else 0
        if minimum > head:
            raise AheadOfLog(head, minimum)
