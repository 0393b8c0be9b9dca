"""Revocation across processes: seen within a second whatever the order of commits, or nobody is served."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from application.identity.records import TokenPair
from infrastructure.identity.revocations import FRESH_SECONDS, RevocationWatch
from infrastructure.identity.tokens import InvalidToken
from infrastructure.unavailable import Unavailable
from tests.accounts_world import ACCESS_SECONDS, World, eventually, open_world

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

REVOKE = "UPDATE taskmaster.sessions SET revoked_at = %s WHERE id = %s"
LONG_AGO = "2001-01-01T00:00:00Z"


class MovedClock:
    """Real time, moved on by `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class CountingWatch(RevocationWatch):
    """The real thing, that also counts its queries."""

    asked = 0

    async def _ask(self, since: int) -> tuple[int, list[UUID]]:
        self.asked += 1
        return await super()._ask(since)


def is_refused(world: World, pair: TokenPair) -> bool:
    try:
        world.verifier.verify(pair.access_token, world.clock.timestamp())
    except InvalidToken as refused:
        return refused.code == "session_revoked"
    return False


async def revoke_by_hand(database_url: str, session_id: UUID) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(REVOKE, [LONG_AGO, session_id])


async def test_a_revocation_in_another_process_is_seen_within_a_second(database_url: str) -> None:
    async with open_world(database_url) as here, open_world(database_url) as there:
        pair = await there.register()
        await here.watch.start()
        assert not is_refused(here, pair)
        await there.accounts.log_out(pair.principal)
        assert await eventually(lambda: is_refused(here, pair), within=1.0) <= 1.0


async def test_a_revocation_in_this_process_is_seen_at_once(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await world.accounts.log_out(pair.principal)
        assert is_refused(world, pair)


async def test_a_reused_refresh_token_ends_the_access_tokens_in_other_processes(database_url: str) -> None:
    async with open_world(database_url) as here, open_world(database_url) as there:
        pair = await there.register()
        await here.watch.start()
        await there.accounts.refresh(pair.refresh_token)
        await asyncio.gather(there.accounts.refresh(pair.refresh_token), return_exceptions=True)
        await eventually(lambda: is_refused(here, pair), within=1.0)


async def test_what_was_revoked_before_the_start_is_known_from_the_start(database_url: str) -> None:
    async with open_world(database_url) as there:
        pair = await there.register()
        await there.accounts.log_out(pair.principal)
    async with open_world(database_url) as here:
        await here.watch.start()
        assert is_refused(here, pair)


async def test_a_revocation_by_plain_sql_with_an_old_stamp_is_seen(database_url: str) -> None:
    async with open_world(database_url) as here:
        pair = await here.register()
        await here.watch.start()
        await revoke_by_hand(database_url, pair.session_id)
        await eventually(lambda: is_refused(here, pair), within=1.0)


async def test_a_revocation_that_commits_long_after_later_ones_is_not_missed(database_url: str) -> None:
    async with open_world(database_url) as here, open_world(database_url) as there:
        early, late = await there.register(), await there.log_in()
        await here.watch.start()
        async with await psycopg.AsyncConnection.connect(database_url) as slow:
            await slow.execute(REVOKE, [LONG_AGO, early.session_id])
            await there.accounts.log_out(late.principal)
            await eventually(lambda: is_refused(here, late), within=1.0)
            assert not is_refused(here, early)
            await slow.commit()
        await eventually(lambda: is_refused(here, early), within=1.0)


async def test_a_log_of_transactions_that_starts_over_is_read_from_the_beginning(database_url: str) -> None:
    async with open_world(database_url) as here, open_world(database_url) as there:
        pair = await there.register()
        clock = MovedClock()
        watch = RevocationWatch(database_url, here.verifier, ACCESS_SECONDS, clock=clock)
        await watch.fresh()
        watch._since += 1_000_000  # as if the cluster had been another, further on
        await there.accounts.log_out(pair.principal)
        clock.ahead = FRESH_SECONDS + 0.1
        await watch.fresh()
        assert is_refused(here, pair)
        await watch.stop()


async def test_without_postgres_nothing_is_fresh_and_waiting_for_it_is_bounded(database_url: str) -> None:
    async with open_world(database_url) as world:
        away = database_url.replace("host=", "host=/nowhere")
        watch = RevocationWatch(away, world.verifier, ACCESS_SECONDS)
        assert not watch.is_fresh
        with pytest.raises(Unavailable):
            await asyncio.wait_for(watch.fresh(), 2)
        with pytest.raises(Unavailable):
            await watch.start()
        await watch.stop()


async def test_a_stalled_postgres_makes_it_stale_and_callers_are_refused_in_time(database_url: str) -> None:
    clock = MovedClock()
    async with open_world(database_url) as world:
        watch = RevocationWatch(database_url, world.verifier, ACCESS_SECONDS, clock=clock)
        await watch.fresh()
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("LOCK TABLE taskmaster.sessions IN ACCESS EXCLUSIVE MODE")
            clock.ahead = FRESH_SECONDS + 0.1
            assert not watch.is_fresh
            with pytest.raises(Unavailable):
                await asyncio.wait_for(watch.fresh(), 2)
        clock.ahead += FRESH_SECONDS + 0.1
        await watch.fresh()
        assert watch.is_fresh
        await watch.stop()


async def test_a_severed_connection_is_made_anew(database_url: str) -> None:
    async with open_world(database_url) as here, open_world(database_url) as there:
        pair = await there.register()
        await here.watch.start()
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        assert await there.rows(cut, "taskmaster-revocations") == [(True,)]
        await there.accounts.log_out(pair.principal)
        await eventually(lambda: is_refused(here, pair), within=1.5)


async def test_many_callers_share_one_look(database_url: str) -> None:
    clock = MovedClock()
    async with open_world(database_url) as world:
        watch = CountingWatch(database_url, world.verifier, ACCESS_SECONDS, clock=clock)
        await watch.fresh()
        clock.ahead = FRESH_SECONDS + 0.1
        await asyncio.gather(*(watch.fresh() for _ in range(50)))
        assert watch.asked == 2
        await watch.stop()


async def test_sessions_are_forgotten_when_their_last_access_token_is_over(database_url: str) -> None:
    clock = MovedClock()
    async with open_world(database_url) as world:
        watch = RevocationWatch(database_url, world.verifier, ACCESS_SECONDS, clock=clock)
        pair = await world.register()
        watch.revoked(pair.session_id)
        await watch.fresh()
        assert is_refused(world, pair)
        clock.ahead = ACCESS_SECONDS - 1
        await watch.fresh()
        assert is_refused(world, pair)
        clock.ahead = ACCESS_SECONDS + 60
        await watch.fresh()
        assert not is_refused(world, pair)
        await watch.stop()
