"""SIGKILL at every named point, under load: processes are forked with one point armed, die there, and are replaced."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Collection
from typing import Any

import psycopg
import redis

from infrastructure.servers.postgres import models_schema
from infrastructure.servers.redis_client import READ_MODELS, with_database
from projections import HOT, TABLES
from tests.faults.laboratory import Laboratory
from tests.faults.trial import KILLED, Trial, Verdict, ended
from tests.faults.zygotes import Forked

POINTS: dict[str, dict[str, int]] = {
    "api": {
        "append.before_begin": 12,
        "append.in_flight": 12,
        "append.after_commit": 12,
        "append.before_wake_up": 12,
        "head.before_announcement": 8,
    },
    "worker": {
        "worker.after_claim": 4,
        "tables.before_begin": 4,
        "tables.before_apply": 4,
        "tables.inside": 10,
        "tables.before_commit": 4,
        "tables.in_flight": 4,
        "tables.after_commit": 4,
        "hot.before_apply": 4,
        "hot.in_flight": 4,
        "hot.after_apply": 4,
        "applied.before_announcement": 6,
    },
    "relay": {"relay.before_wake_up": 4, "relay.inside_wake_up": 4, "relay.after_wake_up": 4},
    "rebuild": {
        "rebuild.table_built": 1,
        "rebuild.table_locked": 1,
        "rebuild.table_before_commit": 1,
        "rebuild.hot_built": 1,
        "rebuild.hot_withdrawn": 1,
        "rebuild.hot_switched": 1,
    },
}
"""Every point that a process can be killed at, by who passes it, with the highest pass at which it is."""

SHARE = {"api": 0.42, "worker": 0.42, "relay": 0.08, "rebuild": 0.08}
SLOTS = {"api": 2, "worker": 2, "relay": 1, "rebuild": 1}
RANDOM = "at any moment"
PATIENCE_SECONDS = 1.5


class Plan:
    """Who is to die next and where: all points in turn, in an order and at passes that the seed decides."""

    def __init__(self, seed: int, kills: int, only: Collection[str] = ()) -> None:
        self._chance = random.Random(seed)
        self._points = {role: [p for p in points if not only or p in only] for role, points in POINTS.items()}
        self.left = {role: math.ceil(kills * share) if self._points[role] else 0 for role, share in SHARE.items()}
        self._most_more = {role: -len(points) for role, points in self._points.items()}
        self._missing = {role: set(points) for role, points in self._points.items()}
        self._moments = not only
        self._deck: dict[str, list[str]] = {role: [] for role in POINTS}

    def next(self, role: str) -> tuple[str, float] | None:
        """A failpoint with the patience to wait for it; None once the role's share is done and no point is left out."""
        if self.left[role] <= 0:
            missing = sorted(self._missing[role])
            if not missing or self.left[role] <= self._most_more[role]:
                return None
            return f"{self._chance.choice(missing)}:1", PATIENCE_SECONDS
        if not self._deck[role]:
            self._deck[role] = [*self._points[role], *([RANDOM] if self._moments and role != "rebuild" else [])]
            self._chance.shuffle(self._deck[role])
        point = self._deck[role].pop()
        if point == RANDOM:
            return "", self._chance.uniform(0.01, 0.25)
        return f"{point}:{self._chance.randint(1, POINTS[role][point])}", PATIENCE_SECONDS

    def died(self, role: str, where: str) -> None:
        """A process was killed."""
        self.left[role] -= 1
        self._missing[role].discard(where)

    def number(self) -> int:
        """Anything, for a child's own chances."""
        return self._chance.randrange(2**31)

    def projection(self, failpoint: str) -> str:
        """A read model in whose rebuild the point is passed."""
        return HOT if failpoint.startswith("rebuild.hot") else self._chance.choice([table.name for table in TABLES])

    def flush(self) -> bool:
        """Whether Redis is to lose the read models first."""
        return self._chance.random() < 0.5


class Killing:
    """The slots in which processes live and die."""

    def __init__(self, trial: Trial, plan: Plan) -> None:
        self._trial = trial
        self._plan = plan
        self.kills: Counter[str] = trial.verdict.kills

    async def run(self) -> None:
        """Return when the plan is carried out. One API process stays, so that there is always load for the others to die by."""
        steady = self._trial.spawn(role="api")
        await self._trial.gateway.add(steady.order.socket)
        jobs = [asyncio.create_task(self._keep(role)) for role, number in SLOTS.items() for _ in range(number)]
        try:
            await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _keep(self, role: str) -> None:
        while order := self._plan.next(role):
            await self._live(role, *order)
        if role in ("relay", "worker"):
            # The other roles' points are passed only while the whole system works.
            child = self._trial.spawn(role=role)
            await asyncio.wrap_future(child.ready)

    async def _live(self, role: str, failpoint: str, patience: float) -> None:
        child = self._trial.spawn(
            role=role,
            failpoint=failpoint,
            seed=self._plan.number(),
            catch_up=role == "worker" and await asyncio.to_thread(self._was_killed_here),
            projection=self._plan.projection(failpoint),
        )
        end = asyncio.create_task(ended(child))
        joining = asyncio.create_task(self._join(role, child))
        await asyncio.wait({end, joining}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait({end}, timeout=patience)
        name = failpoint.partition(":")[0]
        if not done:
            name = f"{role} {RANDOM}"
            await self._trial.kill(child)
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        await self._trial.gateway.remove(child.order.socket)
        code = await end
        if code == KILLED:
            self.kills[name] += 1
            self._plan.died(role, name)
        elif role != "rebuild" or code:
            self._trial.verdict.violations.append(f"{role} ended by itself with {code}")

    async def _join(self, role: str, child: Forked) -> None:
        if role == "api":
            await self._trial.gateway.add(child.order.socket)
        elif role == "worker":
            # Until then it gets over what killed others; a third death there would park the event, as it should.
            await asyncio.wait([asyncio.wrap_future(child.ready)])
        elif role == "rebuild" and self._plan.flush():
            await asyncio.to_thread(forget_read_models, self._trial.settings.redis_url)

    def _was_killed_here(self) -> bool:
        with psycopg.connect(self._trial.settings.database_url, autocommit=True) as connection:
            row = connection.execute(f"SELECT max(attempts) FROM {models_schema('main')}.checkpoints").fetchone()
        return bool(row and row[0])


def forget_read_models(redis_url: str) -> None:
    """Empty the logical database of the read models."""
    with redis.Redis.from_url(with_database(redis_url, READ_MODELS)) as client:
        client.flushdb()


async def kill_everywhere(
    laboratory: Laboratory, seed: int, kills: int, clients: int = 6, name: str = "kills", **how: Any
) -> Verdict:
    """Kill processes at least `kills` times under load, then let the system recover and judge it.

    `only` names the points at which they die instead of all; `sabotage` gives every process a known fault,
    `with_key=False` lets the clients repeat commands without their keys, `only_create=True` keeps them to the one command
    that is never a no-op when it is repeated.
    """
    with_key = how.get("with_key", True)
    async with Trial(laboratory, name, seed, how.get("sabotage", ())) as trial:
        writers = trial.load(clients, readers=0.1, with_key=with_key, only_create=how.get("only_create", False))
        await Killing(trial, Plan(seed, kills, how.get("only", ()))).run()
        await trial.serve()
        await trial.finish(writers)
        trial.verdict.numbers["seconds to catch up"] = await trial.caught_up()
        if with_key:
            await trial.ask_again()
            await trial.caught_up()
        return await trial.judge(with_key)
