"""Redis emptied, killed and paused, Postgres restarted, and what goes on meanwhile."""

import asyncio

from tests.faults.laboratory import Laboratory
from tests.faults.losses import without_read_model, without_relay
from tests.faults.outages import postgres_restarts, redis_outages

SEED = 20_261_122


def test_redis_may_be_emptied_killed_and_paused_under_load(laboratory: Laboratory) -> None:
    redis_outages(laboratory, SEED, rounds=1, pause=2).require()


def test_postgres_may_be_aborted_and_killed_under_load(laboratory: Laboratory) -> None:
    postgres_restarts(laboratory, SEED, restarts=2).require()


def test_without_a_relay_the_sweep_finds_what_was_appended(laboratory: Laboratory) -> None:
    asyncio.run(without_relay(laboratory, SEED)).require()


def test_while_redis_lacks_the_read_model_lists_come_from_postgres(laboratory: Laboratory) -> None:
    asyncio.run(without_read_model(laboratory, SEED)).require()
