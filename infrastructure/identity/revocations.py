"""Revocation within a second: every API process follows the revoked sessions in PostgreSQL."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from infrastructure.identity.tokens import LEEWAY_SECONDS, TokenVerifier
from infrastructure.unavailable import Unavailable

INTERVAL_SECONDS = 0.4
FRESH_SECONDS = 1.0
CHECK_SECONDS = 1.0
CONNECT_SECONDS = 2

_log = logging.getLogger(__name__)

# Asked for by transaction, not by time: a revocation stamped early may commit late. A transaction that this
# snapshot cannot see has an id of at least its xmin: asking from there next time misses none, however slow.
_REVOKED = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
       ARRAY(SELECT id FROM taskmaster.sessions
             WHERE revoked_in >= %(since)s::xid8
               AND revoked_at > clock_timestamp() - make_interval(secs => %(life)s)
             UNION ALL
             SELECT session_id FROM taskmaster.ended_sessions
             WHERE ended_in >= %(since)s::xid8
               AND ended_at > clock_timestamp() - make_interval(secs => %(life)s))"""


class RevocationWatch:
    """Keeps a verifier's revoked sessions up to date; one for each API process, on its event loop.

    `token_life` (seconds) is the longest an access token lives: what was revoked earlier has none left.
    `conninfo` is used for one connection of its own, so that a full pool does not delay revocations.
    """

    def __init__(
        self,
        conninfo: str,
        verifier: TokenVerifier,
        token_life: float,
        *,
        interval: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conninfo = conninfo
        self._verifier = verifier
        self._life = token_life + LEEWAY_SECONDS
        self._interval = interval
        self._clock = clock
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._since = 0
        self._known: dict[UUID, float] = {}
        self._as_of = float("-inf")
        self._look: asyncio.Task[None] | None = None
        self._job: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what is revoked and keep following it. Raises `Unavailable`: do not serve before this."""
        await self.fresh()
        self._job = asyncio.create_task(self._follow(), name="revocation-watch")

    async def stop(self) -> None:
        """End the job and close the connection."""
        running = [task for task in (self._job, self._look) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._disconnect()

    @property
    def is_fresh(self) -> bool:
        """Whether all revocations committed more than a second ago are known here."""
        return self._clock() - self._as_of <= FRESH_SECONDS

    async def fresh(self) -> None:
        """Make `is_fresh` true now; callers share one look. Raises `Unavailable` after a second."""
        deadline = self._clock() + CHECK_SECONDS
        while not self.is_fresh:
            begun_by_others = self._look is not None and not self._look.done()
            look = self._looking()
            done, _ = await asyncio.wait({look}, timeout=deadline - self._clock())
            failed = not done or look.cancelled() or look.exception() is not None
            # A look that others began may have failed before Postgres came back: one more chance.
            if failed and not (done and begun_by_others):
                raise Unavailable("Whether the session is still good cannot be established at the moment.")

    def revoked(self, session_id: UUID) -> None:
        """Refuse a session at once, for a revocation that this process has just committed."""
        self._remember([session_id])

    def _looking(self) -> "asyncio.Task[None]":
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._read())
            # Marks the failure as seen even if whoever waited for it has given up.
            self._look.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._look

    async def _follow(self) -> None:
        well = True
        while True:
            look = self._looking()
            await asyncio.wait({look})
            failure = None if look.cancelled() else look.exception()
            if well and failure is not None:
                _log.warning("revoked sessions cannot be read: %s", failure)
            elif not well and failure is None:
                _log.info("revoked sessions are read again")
            well = failure is None
            await asyncio.sleep(self._interval)

    async def _read(self) -> None:
        begun = self._clock()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                xmin, revoked = await self._ask(self._since)
                if xmin < self._since:
                    # Another cluster counts from elsewhere, as after a restore: ask for everything once.
                    xmin, revoked = await self._ask(0)
        except BaseException:
            await self._disconnect()
            raise
        self._remember(revoked)
        self._forget()
        self._since = xmin
        self._as_of = begun

    async def _ask(self, since: int) -> tuple[int, list[UUID]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_SECONDS,
                application_name="taskmaster-revocations",
            )
        cursor = await self._connection.execute(_REVOKED, {"since": str(since), "life": self._life})
        row = await cursor.fetchone()
        if row is None:
            raise psycopg.OperationalError("no answer to the revocation query")
        return int(row[0]), row[1]

    def _remember(self, session_ids: list[UUID]) -> None:
        now = self._clock()
        for session_id in session_ids:
            self._known.setdefault(session_id, now + self._life)
        self._verifier.revoke(session_ids)

    def _forget(self) -> None:
        now = self._clock()
        # The oldest stand first, so this ends at the first one that still counts.
        over = []
        for session_id, until in self._known.items():
            if until > now:
                break
            over.append(session_id)
        for session_id in over:
            del self._known[session_id]
        self._verifier.forget_revoked(over)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()
