"""Two quiet losses: a wake-up that nobody hears, and a read model in Redis that is gone while nobody rebuilds it."""

from collections.abc import Sequence

import redis

from tests.faults.laboratory import Laboratory
from tests.faults.trial import CATCH_UP_SECONDS, Trial, Verdict

COMMANDS = 40
LOOKS = 12
TAKE_UP_SECONDS = 15.0


async def without_relay(laboratory: Laboratory, seed: int, sabotage: Sequence[str] = ()) -> Verdict:
    """No relay runs, so no worker hears of anything: the read models must catch up all the same."""
    async with Trial(laboratory, "without relay", seed, sabotage) as trial:
        await trial.serve(relays=0)
        await _write(trial)
        trial.verdict.numbers["seconds to catch up"] = await trial.caught_up(CATCH_UP_SECONDS)
        return await trial.judge()


async def without_read_model(laboratory: Laboratory, seed: int, sabotage: Sequence[str] = ()) -> Verdict:
    """Redis is emptied and no worker is there to build the read model again: answers must not come out empty."""
    async with Trial(laboratory, "without read model", seed, sabotage) as trial:
        worker = trial.spawn(role="worker")
        await trial.caught_up(TAKE_UP_SECONDS)
        await trial.serve(workers=0)
        await _write(trial)
        await trial.caught_up()
        for client in trial.clients:
            await client.look(client.newest, "list")
        await trial.kill(worker)
        with redis.Redis.from_url(trial.settings.redis_url) as redis_client:
            redis_client.flushall()
        for _ in range(LOOKS):
            for kind in ("list", "counts"):
                await trial.clients[0].look(trial.clients[0].newest, kind)
                await trial.clients[0].look(0, kind)
        trial.spawn(role="worker")
        await trial.caught_up()
        return await trial.judge()


async def _write(trial: Trial) -> None:
    writers = trial.load(2, readers=0)
    await trial.issue(COMMANDS, seconds=30)
    await trial.finish(writers)
