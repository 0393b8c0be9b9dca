"""The whole program as its user runs it, killed in parts and at once."""

import asyncio

from tests.faults.whole import dev_folder, kill_real_processes, kill_the_whole

SEED = 20_261_122


def test_the_real_processes_are_started_again_and_nothing_is_lost() -> None:
    with dev_folder() as dev:
        asyncio.run(kill_real_processes(dev, SEED, kills=3)).require()


def test_killing_the_whole_of_dev_at_once_loses_nothing_and_it_serves_again() -> None:
    with dev_folder() as dev:
        asyncio.run(kill_the_whole(dev, SEED, kills=1)).require()
