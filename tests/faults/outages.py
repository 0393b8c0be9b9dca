"""Redis emptied, killed and paused, Postgres restarted at once: what clients see meanwhile, and how soon all is well again.

The servers are their starter's, so everything that stops or starts one is called from the main thread, while the clients
run on an event loop of another.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis

from tests.faults.laboratory import Laboratory
from tests.faults.trial import CATCH_UP_SECONDS, Trial, Verdict

T = TypeVar("T")
STEP_SECONDS = 60.0
PROGRESS_SECONDS = 10.0


class Elsewhere:
    """A trial on an event loop in a thread of its own, driven from this one."""

    def __init__(self, laboratory: Laboratory, name: str, seed: int, sabotage: tuple[str, ...] = ()) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clients")
        self._thread.start()
        self.trial = self.do(self._make(laboratory, name, seed, sabotage))

    @staticmethod
    async def _make(laboratory: Laboratory, name: str, seed: int, sabotage: tuple[str, ...]) -> Trial:
        return Trial(laboratory, name, seed, sabotage)

    def do(self, step: Coroutine[Any, Any, T], seconds: float = STEP_SECONDS) -> T:
        """Run one step over there and wait for it."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(seconds)

    def close(self) -> None:
        """End the trial and its loop."""
        try:
            self.do(self.trial.__aexit__(None, None, None))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def acknowledged(self) -> int:
        """How many commands have been acknowledged by now."""
        return sum(issued.receipt is not None for client in self.trial.clients for issued in list(client.issued))

    def progress(self, commands: int, seconds: float = PROGRESS_SECONDS) -> bool:
        """Wait until so many more commands have been acknowledged."""
        wanted, deadline = self.acknowledged() + commands, time.monotonic() + seconds
        while self.acknowledged() < wanted:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


@contextmanager
def elsewhere(laboratory: Laboratory, name: str, seed: int, sabotage: tuple[str, ...] = ()) -> Iterator[Elsewhere]:
    """A trial whose servers may be stopped from here."""
    made = Elsewhere(laboratory, name, seed, sabotage)
    try:
        yield made
    finally:
        made.close()


def redis_outages(
    laboratory: Laboratory, seed: int, rounds: int, pause: float, name: str = "redis", sabotage: tuple[str, ...] = ()
) -> Verdict:
    """Every kind of Redis outage, `rounds` times, in an order that the seed decides; a pause lasts `pause` seconds."""
    services, chance = laboratory.services, random.Random(seed)

    def flush() -> None:
        with redis.Redis.from_url(services.redis_url) as client:
            client.flushall()

    def restart(*, empty: bool) -> None:
        services.kill_redis()
        _keeps_serving(there, 0.3)
        services.start_redis(empty=empty)

    def hold() -> None:
        services.pause_redis()
        try:
            _keeps_serving(there, pause)
        finally:
            services.resume_redis()

    kinds: dict[str, Callable[[], None]] = {
        "Redis emptied": flush,
        "Redis killed, restarted empty": lambda: restart(empty=True),
        "Redis killed, restarted": lambda: restart(empty=False),
        f"Redis paused for {pause:g} s": hold,
    }
    with elsewhere(laboratory, name, seed, sabotage) as there:
        trial = there.trial
        there.do(trial.serve(apis=2, workers=2))
        writers = there.do(_loaded(trial))
        for _ in range(rounds):
            for kind in chance.sample(sorted(kinds), len(kinds)):
                there.progress(chance.randint(5, 60))
                kinds[kind]()
                trial.verdict.kills[kind] += 1
                if not there.progress(20):
                    trial.verdict.violations.append(f"{kind}: commands were no longer acknowledged")
                _healed(there, kind)
        there.do(trial.finish(writers))
        _healed(there, "in the end")
        there.do(trial.ask_again(most=300))
        there.do(trial.caught_up())
        return there.do(trial.judge())


async def _loaded(trial: Trial) -> list[asyncio.Task[None]]:
    return trial.load(4, readers=0.01)


def _keeps_serving(there: Elsewhere, seconds: float) -> None:
    """While Redis is away commands are acknowledged, again and again until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not there.progress(3, 3.0):
            there.trial.verdict.violations.append("without Redis no command was acknowledged for 3 s")
            return


def _healed(there: Elsewhere, after: str) -> None:
    """Every read model reaches a position that is acknowledged now within 5 s, Redis included."""
    trial = there.trial
    wanted, begun = max(client.newest for client in trial.clients), time.monotonic()
    while (lowest := there.do(_lowest(trial))) < wanted:
        if time.monotonic() - begun > CATCH_UP_SECONDS:
            trial.verdict.violations.append(f"{after}: after {CATCH_UP_SECONDS:g} s a read model is at {lowest}, not {wanted}")
            break
        time.sleep(0.01)
    slowest = trial.verdict.numbers.get("seconds to heal", 0.0)
    trial.verdict.numbers["seconds to heal"] = max(slowest, time.monotonic() - begun)


async def _lowest(trial: Trial) -> int:
    return await asyncio.to_thread(trial.lowest)


def postgres_restarts(laboratory: Laboratory, seed: int, restarts: int, name: str = "postgres") -> Verdict:
    """Postgres aborted and started again under load, `restarts` times; every other time it is killed."""
    services, chance = laboratory.services, random.Random(seed)
    with elsewhere(laboratory, name, seed) as there:
        trial = there.trial
        there.do(trial.serve(apis=2))
        writers, slowest = there.do(_loaded(trial)), 0.0
        for number in range(restarts):
            there.progress(chance.randint(5, 80))
            if number % 2:
                kind = "Postgres killed, restarted"
                services.kill_postgres()
                services.start_postgres()
            else:
                kind = "Postgres aborted, restarted"
                services.restart_postgres(immediate=True)
            trial.verdict.kills[kind] += 1
            begun = time.monotonic()
            if not there.progress(1):
                trial.verdict.violations.append(f"{kind}: commands were no longer acknowledged")
            slowest = max(slowest, time.monotonic() - begun)
        trial.verdict.numbers["seconds until the next command"] = slowest
        there.do(trial.finish(writers))
        _healed(there, "in the end")
        there.do(trial.ask_again(most=300))
        there.do(trial.caught_up())
        return there.do(trial.judge())
