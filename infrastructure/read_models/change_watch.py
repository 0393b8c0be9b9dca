"""Waiting for news of a workspace: one look at the log of changes for all who wait in this process, whenever it has grown.

Everybody waits for the feed to advance; that it did says nothing about one workspace. So one query after each advance tells
which of the workspaces that somebody waits for are among the new entries, and only those are woken.
"""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from infrastructure.processes.draining import Draining
from infrastructure.read_models.applied_positions import AppliedPositions
from infrastructure.servers.postgres import AsyncPool
from projections import FEED

logger = logging.getLogger("taskmaster.reads")

MOST_WAITING = 5_000
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.02


class ChangeWatch:
    """Wakes who waits for changes. One for each log of a process, used on its event loop only."""

    def __init__(self, pool: AsyncPool, positions: AppliedPositions, draining: Draining) -> None:
        self._pool = pool
        self._positions = positions
        self._draining = draining
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = {}
        self._number = 0
        self._looked = 0
        self._is_closed = False
        self._job: asyncio.Task[None] | None = None

    async def news(self, workspace_id: UUID, since: int, seconds: float) -> bool:
        """Until the workspace may have entries after position `since`, or so many seconds have passed.

        Whether waiting goes on making sense: not when too many wait already, nor when the process ends.
        """
        if self._is_closed or self._number >= MOST_WAITING:
            return False
        if self._job is None or self._job.done():
            self._looked = since
            self._job = asyncio.create_task(self._watch(), name="change watch")
        if since < self._looked:
            # What came in between was looked at for others. Not at once: a feed that was rebuilt may stand behind for a
            # while.
            await asyncio.sleep(min(seconds, _PAUSE_SECONDS))
            return True
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(workspace_id, set()).add(news)
        self._number += 1
        try:
            await asyncio.wait_for(news, seconds)
        except TimeoutError:
            pass
        finally:
            self._number -= 1
            self._forget(workspace_id, news)
        return not self._is_closed

    async def close(self) -> None:
        """Wake everybody: the process ends."""
        self._is_closed = True
        if self._job is not None:
            self._job.cancel()
            with suppress(asyncio.CancelledError):
                await self._job
        self._wake(list(self._waiting))

    def _forget(self, workspace_id: UUID, news: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(workspace_id)
        if waiting is not None:
            waiting.discard(news)
            if not waiting:
                del self._waiting[workspace_id]

    def _wake(self, workspaces: list[UUID]) -> None:
        for workspace in workspaces:
            for news in self._waiting.get(workspace, ()):
                if not news.done():
                    news.set_result(None)

    async def _watch(self) -> None:
        while self._waiting or self._number:
            await self._positions.wait_for((FEED.name,), self._looked + 1, _LOOK_SECONDS)
            if self._draining.begun:
                self._is_closed = True
                self._wake(list(self._waiting))
                return
            since = self._positions.now
            try:
                await self._look()
                # What was announced may have been lost again: it must not be waited for over and over.
                self._positions.found(FEED.name, self._looked, since)
            except (psycopg.Error, PoolTimeout):
                await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT c.position, array(SELECT w.id FROM unnest(%s::uuid[]) AS w(id) WHERE EXISTS (SELECT FROM "
                "feed f WHERE f.workspace_id = w.id AND f.position > %s AND f.position <= c.position)) "
                "FROM checkpoints c WHERE c.projection = 'feed'",
                (list(self._waiting), self._looked),
                prepare=True,
            )
            row = await cursor.fetchone()
        if row is not None:
            self._looked = row[0]
            self._wake(row[1])
