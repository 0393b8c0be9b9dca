"""One process' limiter: what it lends itself, how exact it stays, and what it costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
from redis.asyncio import Redis

from infrastructure.limits.budgets import Budget, budget, budgets_of
from infrastructure.limits.leases import Lease
from infrastructure.limits.limit_accounts import Account, Charge, Refused
from infrastructure.limits.limiter import Limiter
from infrastructure.limits.redis_budgets import MARK, PREFIX, Given
from infrastructure.servers.redis_client import LIMITS, async_client, with_database
from infrastructure.settings import ConfigurationError, Settings, load_settings

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def made(name: str, text: str) -> Budget:
    found = budget(name, text)
    assert found is not None
    return found


USER, ANONYMOUS = made("user", "600/60"), made("anonymous", "100/900")
WORKSPACE, ADDRESS = made("workspace", "3000/60"), made("address", "6000/60")


@asynccontextmanager
async def limiting(redis_url: str, processes: int = 1) -> AsyncIterator[Limiter]:
    client: Redis = async_client(redis_url, LIMITS, None)
    limiter = Limiter(client, processes)
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.close()
        await client.aclose()


def account_of(limiter: Limiter, *charged: tuple[Budget, str]) -> Account:
    return limiter.account([Charge(each, owner) for each, owner in charged])


async def admitted(limiter: Limiter, account: Account, asked: int, cost: int = 1) -> int:
    found = 0
    for _ in range(asked):
        try:
            await limiter.admit(account, cost)
        except Refused:
            continue
        found += cost
    return found


def commands(redis_url: str) -> int:
    with redis.Redis.from_url(with_database(redis_url, LIMITS)) as client:
        return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


async def test_of_a_budget_exactly_as_much_is_given_as_there_is(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        assert await admitted(limiter, account, 130) == 100


async def test_a_hundred_requests_of_a_user_cost_a_few_round_trips(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (USER, "ada"))
        before = commands(redis_url)
        assert await admitted(limiter, account, 100) == 100
        assert commands(redis_url) - before <= 30


async def test_a_steady_user_is_lent_what_he_needs_and_little_more(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (USER, "ada"), (WORKSPACE, "hers"), (ADDRESS, "here"))
        before, began, asked = commands(redis_url), asyncio.get_running_loop().time(), 0
        while asyncio.get_running_loop().time() - began < 4:
            await limiter.admit(account, 1)
            asked += 1
            await asyncio.sleep(0.12)
        assert commands(redis_url) - before <= asked / 2 + 2
        left = {lease.budget.name: lease.shown for lease in account.leases}
        assert left["user"] >= 600 - 40
        assert left["workspace"] >= 3000 - 150
        assert left["address"] >= 6000 - 250


async def test_a_burst_finds_every_point_and_not_one_more(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (USER, "ada"), (WORKSPACE, "hers"), (ADDRESS, "here"))
        began = asyncio.get_running_loop().time()
        found = await admitted(limiter, account, 900)
        took = asyncio.get_running_loop().time() - began
        assert 600 <= found <= 600 + took * 10


async def test_what_was_refused_is_refused_again_without_asking(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        await admitted(limiter, account, 101)
        before = commands(redis_url)
        assert await admitted(limiter, account, 500) == 0
        assert commands(redis_url) == before


async def test_a_refusal_says_which_budget_and_when_to_come_again(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (USER, "ada"), (ANONYMOUS, "here"))
        await admitted(limiter, account, 100)
        with pytest.raises(Refused) as refused:
            await limiter.admit(account, 1)
        assert refused.value.budget == ANONYMOUS
        assert 1 <= refused.value.retry_after <= 9


async def test_where_one_budget_refuses_no_other_is_charged(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        await admitted(limiter, account_of(limiter, (ANONYMOUS, "here")), 100)
        assert await admitted(limiter, account_of(limiter, (ANONYMOUS, "there"), (ANONYMOUS, "here")), 20) == 0
        assert await admitted(limiter, account_of(limiter, (ANONYMOUS, "there")), 130) == 100


async def test_many_at_once_share_round_trips_and_none_gets_anothers_point(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        results = await asyncio.gather(*(limiter.admit(account, 1) for _ in range(300)), return_exceptions=True)
        assert sum(result is None for result in results) == 100
        assert all(result is None or isinstance(result, Refused) for result in results)


async def test_whoever_hangs_up_while_he_waits_takes_nothing_along(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        waiting = [asyncio.create_task(limiter.admit(account, 1)) for _ in range(10)]
        await asyncio.sleep(0)
        for each in waiting[::2]:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert account.need == 0
        assert 90 <= await admitted(limiter, account, 130) <= 95


async def test_alone_a_process_goes_on_exactly_where_redis_was(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        assert await admitted(limiter, account, 60) == 60
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        assert await admitted(limiter, account, 60) == 40


def as_if_restarted(redis_url: str) -> None:
    """Redis runs again, with what it had on disk: the mark is another run's."""
    with redis.Redis.from_url(with_database(redis_url, LIMITS)) as client:
        assert client.get(MARK)
        client.set(MARK, "another-run-of-it 0")


async def test_after_a_restart_of_everything_budgets_are_as_they_were(redis_url: str) -> None:
    async with limiting(redis_url, processes=4) as limiter:
        assert await admitted(limiter, account_of(limiter, (ANONYMOUS, "here")), 60) == 60
    as_if_restarted(redis_url)
    async with limiting(redis_url, processes=4) as limiter:
        assert not limiter.is_cut_off
        assert await admitted(limiter, account_of(limiter, (ANONYMOUS, "here")), 60) == 40


async def test_where_redis_alone_was_restarted_budgets_begin_empty(redis_url: str) -> None:
    async with limiting(redis_url, processes=4) as limiter:
        account = account_of(limiter, (ANONYMOUS, "here"))
        assert await admitted(limiter, account, 1) == 1
        await limiter.close()
        as_if_restarted(redis_url)
        assert await admitted(limiter, account, 60) == 0
        assert limiter.is_cut_off


async def test_what_the_limiter_keeps_in_redis_goes_away_by_itself(redis_url: str) -> None:
    async with limiting(redis_url) as limiter:
        for number in range(5):
            await admitted(limiter, account_of(limiter, (ANONYMOUS, f"address-{number}")), 3)
        with redis.Redis.from_url(with_database(redis_url, LIMITS)) as client:
            keys = [key for key in client.keys(f"{PREFIX}*") if not key.endswith(b"mark")]
            assert len(keys) == 5
            assert all(0 < client.pttl(key) <= 4 * 9_000 for key in keys)


def given(points: int, lapses: float) -> Given:
    return Given(points, lapses, 0, 0.0, 0.0)


def test_a_lent_point_lapses_when_it_would_have_come_back(anyio_backend: str) -> None:
    lease = Lease(USER)
    lease.add(given(10, 100.1))
    assert lease.has(10, now=100.0)
    assert not lease.has(10, now=100.15)
    assert lease.has(9, now=100.15)
    assert lease.has(1, now=100.95)
    assert not lease.has(1, now=101.05)
    assert not lease.has(1, now=500.0)


def test_points_lent_later_last_longer(anyio_backend: str) -> None:
    lease = Lease(USER)
    lease.add(given(2, 100.1))
    lease.add(given(2, 100.3))
    assert lease.has(1, now=100.25)
    assert lease.has(2, now=100.25)
    assert not lease.has(2, now=100.35)
    assert lease.has(1, now=100.35)


def test_small_budgets_are_not_lent_from(anyio_backend: str) -> None:
    for text in ("5/900", "100/900", "600/60/10"):
        assert Lease(made("small", text)).most == 0


@pytest.mark.parametrize("text", ["0/60", "600", "600/0", "a/b", "-1/60", "600/60/0", "9000000/1", "1/999999/999999"])
def test_what_is_no_limit_is_refused_by_name(anyio_backend: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match="TASKMASTER_LIMIT_USER"):
        budgets_of(load_settings({"TASKMASTER_LIMIT_USER": text}))


def test_a_limit_that_is_set_takes_the_place_of_the_profiles(anyio_backend: str) -> None:
    chosen = budgets_of(Settings(limits="founding", limit_user="7/60/9", limit_reports="off"))
    assert chosen.user is not None
    assert (chosen.user.quota, chosen.user.burst) == (7, 9)
    assert chosen.reports is None
    assert chosen.anonymous is not None
    assert chosen.anonymous.policy == '"anonymous";q=100;w=900'


def test_the_shares_of_all_processes_are_together_not_more_than_the_whole(anyio_backend: str) -> None:
    for processes in range(1, 12):
        for text in ("5/900", "100/900", "600/60", "7/60/3"):
            whole = made("whole", text)
            share = whole.share(processes)
            assert share.burst * processes <= whole.burst
            assert share.interval >= whole.interval * processes
