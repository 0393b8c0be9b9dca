"""A worker that is stopped in the middle of its work and goes on when another one has long done it."""

import asyncio
import random
import signal
from collections.abc import Sequence

import psutil

from tests.faults.laboratory import Laboratory
from tests.faults.trial import Trial, Verdict
from tests.faults.zygotes import Forked

STOPS = ("tables.before_begin", "tables.inside", "hot.before_apply", "hot.after_apply", "applied.before_announcement")
STOPPED_SECONDS = 20.0
TAKE_OVER_SECONDS = 15.0


async def wake_zombies(
    laboratory: Laboratory, seed: int, points: Sequence[str] = STOPS, name: str = "zombies", sabotage: Sequence[str] = ()
) -> Verdict:
    """Stop one worker at each of `points`, let a second one take over, and wake the first one up again."""
    chance = random.Random(seed)
    async with Trial(laboratory, name, seed, sabotage) as trial:
        await trial.serve(workers=0)
        writers = trial.load(3)
        for point in points:
            zombie = trial.spawn(role="worker", failpoint=f"{point}:{chance.randint(2, 6)}:stop", catch_up=True)
            await stopped(zombie)
            successor = trial.spawn(role="worker")
            await trial.advances(TAKE_OVER_SECONDS, f"one worker stopped at {point}")
            zombie.signal(signal.SIGCONT)
            # Alone it must do what is left; so it is known to have finished what it was stopped in.
            await trial.kill(successor)
            await trial.issue(3, TAKE_OVER_SECONDS)
            await trial.advances(TAKE_OVER_SECONDS, f"the worker stopped at {point} goes on")
            trial.verdict.kills[f"{point} stopped"] += 1
            await trial.kill(zombie)
        successor = trial.spawn(role="worker", catch_up=True)
        await trial.finish(writers)
        await trial.caught_up()
        return await trial.judge()


async def stopped(child: Forked) -> None:
    """Wait until a child has stopped itself at its failpoint."""
    process = psutil.Process(await asyncio.wrap_future(child.started))
    async with asyncio.timeout(STOPPED_SECONDS):
        while process.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - another process' state has no event
            await asyncio.sleep(0.01)
