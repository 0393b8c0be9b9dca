"""One API process' limiter in a process of its own: as many at once as it is told, for as long as it is told.

Reads a line of JSON for each burst, says `ready`, waits for another line, and answers with a line of JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from infrastructure.limits.budgets import Budget, budget
from infrastructure.limits.limit_accounts import Charge, Refused
from infrastructure.limits.limiter import Limiter
from infrastructure.limits.local_budgets import LocalBudgets
from infrastructure.limits.redis_budgets import Asked, Decision, RedisBudgets
from infrastructure.servers.redis_client import LIMITS, async_client


class Burst:
    """What it came to."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused = 0


class _CountsFromNothing(LocalBudgets):
    """What most limiters do without their store: each process counts for itself."""

    def used_up(self, budget: Budget, key: str, now: float) -> float:
        return self.known(key, now)


class _HasNoMemory(RedisBudgets):
    """A store that comes back empty is believed to be one on which nothing was ever spent."""

    async def decide(self, asked: Sequence[Asked], least: int, need: int, **how: bool) -> Decision:
        self._known = ""
        return await super().decide(asked, least, need, may_leave_gap=how.get("may_leave_gap", False))


class _Unprotected(Limiter):
    def __init__(self, client: Redis, processes: int, sabotage: str) -> None:
        super().__init__(client, processes)
        if sabotage == "own budget":
            self._local = _CountsFromNothing(processes, time.monotonic())
        if sabotage == "no memory":
            self._redis = _HasNoMemory(client, processes)


async def burst(plan: dict[str, Any]) -> dict[str, float]:
    chosen = budget("test", plan["budget"])
    assert chosen is not None
    client = async_client(plan["redis_url"], LIMITS)
    limiter, found = _Unprotected(client, plan["processes"], plan.get("sabotage", "")), Burst()
    await limiter.start()
    account = limiter.account([Charge(chosen, owner) for owner in plan["owners"]])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.monotonic() + plan["seconds"]

    async def one() -> None:
        while True:
            try:
                await limiter.admit(account, plan["cost"])
                found.admitted += plan["cost"]
            except Refused:
                found.refused += 1
                if time.monotonic() >= until:
                    return
                await asyncio.sleep(0.02)
            if time.monotonic() >= until:
                return

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(plan["at_once"])))
    took = time.monotonic() - began
    await limiter.close()
    await client.aclose()
    return {"admitted": found.admitted, "refused": found.refused, "began": began, "took": took}


def main() -> None:
    for line in sys.stdin:
        plan = json.loads(line)
        print(json.dumps(asyncio.run(burst(plan))), flush=True)


if __name__ == "__main__":
    main()
