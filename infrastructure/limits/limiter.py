"""Decides whether a request is within its limits: on lent points where there are some, else by Redis, else by own share."""

import asyncio
import logging
import time
from collections.abc import Sequence
from math import ceil
from typing import Final

import redis.asyncio

from infrastructure.limits.limit_accounts import Account, Charge, Refused
from infrastructure.limits.local_budgets import LocalBudgets
from infrastructure.limits.redis_budgets import AnotherMemory, Asked, Decision, RedisAway, RedisBudgets, Settling

MOST_ACCOUNTS: Final = 20_000
PROBE_SECONDS: Final = 0.25

logger = logging.getLogger(__name__)


class Limiter:
    """The limits of one API process. `processes` is how many share them, over all hosts.

    Never is more admitted than the budgets say, over all processes together, also while Redis is being lost: then each
    process gives its share of what comes back, and nothing of what may have been given before.
    """

    def __init__(self, client: "redis.asyncio.Redis", processes: int = 1) -> None:
        self._redis = RedisBudgets(client, processes)
        self._local = LocalBudgets(processes, time.monotonic())
        self._accounts: dict[tuple[str, ...], Account] = {}
        self._coming_back: asyncio.Task[None] | None = None
        self._is_doubtful = False

    @property
    def is_cut_off(self) -> bool:
        """Whether this process decides by itself at the moment."""
        return self._coming_back is not None

    def account(self, charges: Sequence[Charge]) -> Account:
        """The account of these budgets; kept as long as there is room."""
        key = tuple(charge.key for charge in charges)
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = Account(charges)
            if len(self._accounts) > MOST_ACCOUNTS:
                # What it was lent lapses, which harms nobody.
                del self._accounts[next(iter(self._accounts))]
        return found

    async def start(self) -> None:
        """Make the acquaintance of Redis; where it is away, begin without."""
        try:
            await self._redis.decide([], 0, 0)
        except RedisAway:
            self._cut_off(PROBE_SECONDS)
        except Settling as settling:
            self._cut_off(settling.seconds)

    async def admit(self, account: Account, cost: int) -> None:
        """Spend `cost` points (at most the smallest burst) of every budget. Raises Refused, spending nothing."""
        cost = min(cost, account.most)
        while True:
            now = time.monotonic()
            if self.spend(account, cost, now):
                return
            refusal = account.refusal(cost, now)
            if refusal is not None:
                raise refusal
            if self._coming_back is not None:
                self._decide_here(account, cost, now)
                return
            account.need += cost
            try:
                await self._more(account, cost)
            finally:
                account.need -= cost
            # What was given for those who waited was spent when it was given: it does not lapse on the way to them.
            if account.ready >= cost:
                account.ready -= cost
                return

    def spend(self, account: Account, cost: int, now: float) -> bool:
        """Spend lent points, if there are enough: this waits for nothing. Asks for more before it is needed."""
        taken = account.take(cost, now)
        if taken is None and account.running is None and self._coming_back is None:
            account.running = asyncio.create_task(self._extend(account, 0))
        return taken is not False

    async def close(self) -> None:
        """Stop what runs."""
        running = [account.running for account in self._accounts.values() if account.running is not None]
        if self._coming_back is not None:
            running.append(self._coming_back)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._redis.close()

    async def _more(self, account: Account, cost: int) -> None:
        if account.running is None:
            account.running = asyncio.create_task(self._extend(account, cost))
        # Whoever asked first may go away; the others still wait for the answer.
        await asyncio.shield(account.running)

    async def _extend(self, account: Account, cost: int) -> None:
        try:
            # Whoever came in the same moment is asked for in the same question.
            await asyncio.sleep(0)
            account.ready = 0
            decision = await self._ask(account, cost)
            if decision is None:
                return
            if not decision.is_given:
                account.refuse(decision, cost)
                return
            account.ready = decision.points
            account.settle()
            for lease, each, given in zip(account.leases, account.asked, decision.parts, strict=True):
                lease.add(given)
                self._local.learn(each.key, decision.asked_at + given.back)
            now = time.monotonic()
            account.given = decision.points + min(lease.unspent(now) for lease in account.leases)
        finally:
            account.running = None

    async def _ask(self, account: Account, cost: int) -> Decision | None:
        """Redis's decision, or None where it gives none: then it is made here."""
        now = time.monotonic()
        account.settle()
        wanted, is_steady = account.wanted(now), account.is_steady(now)
        for _ in range(3):
            asked = [
                Asked(each.budget, each.key, max(0, wanted - lease.unspent(now)), self._used_up(each, now))
                for each, lease in zip(account.asked, account.leases, strict=True)
            ]
            try:
                # Only for whoever keeps on asking something is lost: a burst finds all there is.
                return await self._redis.decide(asked, cost, max(cost, account.need), may_leave_gap=is_steady)
            except AnotherMemory:
                self._is_doubtful = True
            except Settling as settling:
                self._cut_off(settling.seconds)
                return None
            except RedisAway:
                break
        self._cut_off(PROBE_SECONDS)
        return None

    def _used_up(self, asked: Asked, now: float) -> float:
        if self._is_doubtful:
            return self._local.used_up(asked.budget, asked.key, now)
        return self._local.known(asked.key, now)

    def _decide_here(self, account: Account, cost: int, now: float) -> None:
        decision = self._local.decide(account.asked, cost, now)
        for lease, given in zip(account.leases, decision.parts, strict=True):
            lease.learn(given)
        if not decision.is_given:
            account.refuse(decision, cost)
            # Redis may know better as soon as it is back.
            account.refused_until = 0.0
            raise Refused(account.refusing, max(1, ceil(max(part.wait for part in decision.parts))))

    def _cut_off(self, seconds: float) -> None:
        if self._coming_back is None:
            logger.warning("limits are decided without Redis: each process gives its own share")
            self._local.cut_off(time.monotonic())
            self._is_doubtful = True
            self._coming_back = asyncio.create_task(self._come_back(seconds), name="limits come back")

    async def _come_back(self, seconds: float) -> None:
        """Ask again and again until Redis decides again."""
        was_away = True
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._redis.decide([], 0, 0, was_away=was_away)
                break
            except AnotherMemory:
                continue
            except Settling as settling:
                was_away, seconds = False, settling.seconds
            except RedisAway:
                was_away, seconds = True, PROBE_SECONDS
        self._coming_back = None
        logger.info("limits are decided by Redis again")
