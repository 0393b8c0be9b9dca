"""What an API process knows of the log that it serves: which one it is, and which read models are places in it.

A log can become another one under a running process: by a restore, a failover, or an operator who raises its epoch. The watch
holds a connection of its own, hears of a changed identity at once, looks by itself every second, and doubts everything as soon
as a connection breaks or somebody else had to reconnect: from then on reads wait until it has looked again.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.errors import UndefinedTable

from infrastructure.log.system_stream import LAST_ERASURE
from projections import HOT
from projections.engine.changes import LogIdentity

logger = logging.getLogger("taskmaster.reads")

CHANNEL = "taskmaster_log"
"""Notified by a trigger when a log's identity changes."""

LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.2
SETTLE_SECONDS = 0.5
CONNECT_SECONDS = 2.0

# A read model belongs to this log if the event at its checkpoint is the one that it applied: the hash covers the log's id and
# the epoch in which that event was appended. So what was restored together with its log is good at once, under any epoch.
_LOOK = (
    f"SELECT l.log_id, l.epoch, c.projection, c.generation, ({LAST_ERASURE}), "
    "c.log_id = l.log_id AND (c.position = 0 OR (e.hash IS NOT NULL AND (c.leaf_hash IS NULL OR c.leaf_hash = e.hash))) "
    "FROM log l CROSS JOIN checkpoints c LEFT JOIN events e ON e.notification_id = c.position"
)


class Standing(msgspec.Struct, frozen=True):
    """What one look found: the log, the generation of the read model in Redis, which of those in Postgres reflect another
    history, and where payloads were erased last."""

    identity: LogIdentity
    generation: int
    last_erasure: int
    elsewhere: frozenset[str]


State = Literal["sure", "doubtful", "away"]


class LogWatch:
    """Follows one log. `state` is `doubtful` between a reason to look and the look, `away` while Postgres cannot be asked."""

    def __init__(self, conninfo: str, on_look: Callable[[Standing], None] = lambda _: None) -> None:
        self._conninfo = conninfo
        self.on_look = on_look
        self.on_erasure: Callable[[], None] = lambda: None
        self.standing: Standing | None = None
        self.state: State = "doubtful"
        self._settled = asyncio.Event()
        self._hurry = asyncio.Event()
        self._job: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow, after a first look or one failure of it."""
        self._job = asyncio.create_task(self._follow(), name="log watch")
        await self._settled.wait()

    async def stop(self) -> None:
        """End and close the connection."""
        if self._job:
            self._job.cancel()
            with suppress(asyncio.CancelledError):
                await self._job

    def doubt(self) -> None:
        """Whoever reads from now on waits for the next look: the log may have become another one."""
        self.state = "doubtful"
        self._settled.clear()
        self._hurry.set()

    async def settle(self) -> None:
        """Wait for a moment until nothing is in doubt."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settled.wait()

    def is_elsewhere(self, projection: str) -> bool:
        """Whether a read model in Postgres is known to reflect another history than the log's."""
        return self.standing is not None and projection in self.standing.elsewhere

    async def _follow(self) -> None:
        while True:
            self._hurry.clear()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
            except (psycopg.Error, TimeoutError, OSError):
                self._settle("away")
            else:
                try:
                    async with connection:
                        await self._look_on(connection)
                except UndefinedTable:
                    # The read models of this release are still being built.
                    self._settle("away")
                except (psycopg.Error, TimeoutError, OSError) as error:
                    logger.warning("the log is looked at again: %s", str(error).split("\n")[0])
                    self.doubt()
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._hurry.wait()

    async def _look_on(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(f"LISTEN {CHANNEL}".encode())
        while True:
            # Doubt that arises during the look is not settled by it.
            self._hurry.clear()
            async with asyncio.timeout(CONNECT_SECONDS):
                cursor = await connection.execute(_LOOK, prepare=True)
                rows = await cursor.fetchall()
            if rows:
                self._take(rows)
            if not self._hurry.is_set():
                self._settle("sure")
                await self._until_there_is_reason(connection)

    async def _until_there_is_reason(self, connection: psycopg.AsyncConnection[Any]) -> None:
        hurried = asyncio.ensure_future(self._hurry.wait())
        told = asyncio.ensure_future(_first(connection))
        try:
            done, _ = await asyncio.wait({hurried, told}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (hurried, told):
                waiting.cancel()
            await asyncio.gather(hurried, told, return_exceptions=True)
        if told in done:
            told.result()

    def _take(self, rows: list[Any]) -> None:
        tables = [row for row in rows if row[2] != HOT]
        generation = next((row[3] for row in rows if row[2] == HOT), 1)
        found = Standing(
            LogIdentity(rows[0][0], rows[0][1]),
            generation,
            rows[0][4],
            frozenset(row[2] for row in tables if not row[5]),
        )
        if self.standing is not None and self.standing.last_erasure != found.last_erasure:
            self.on_erasure()
        if self.standing is not None and self.standing.identity != found.identity:
            logger.warning("the log is now %s, epoch %s", found.identity.log_id, found.identity.epoch)
        self.standing = found
        self.on_look(found)

    def _settle(self, state: State) -> None:
        self.state = state
        self._settled.set()


async def _first(connection: psycopg.AsyncConnection[Any]) -> None:
    """The next notification; raises psycopg.OperationalError where the connection breaks."""
    async for _ in connection.notifies(stop_after=1):
        return
