"""Four processes, two hundred at once, and Redis lost in the middle of it: never one too many."""

from collections.abc import Iterator

import pytest

from infrastructure.embedded.services import LocalServices
from tests.infrastructure.bursts import Processes, four_processes, run_bursts

SEED = 20_261_125


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with four_processes() as running:
        yield running


@pytest.mark.parametrize(("budget", "quota"), [("5/900", 5), ("20/900", 20), ("100/900", 100), ("600/3600", 600)])
def test_two_hundred_at_once_get_what_there_is_and_not_one_more(
    processes: Processes, redis_url: str, budget: str, quota: int
) -> None:
    found = processes.burst(redis_url, budget=budget)
    assert found.admitted <= quota + found.seconds * quota / 900
    assert found.admitted >= quota * 0.9
    assert found.refused > 0


def test_of_several_budgets_the_tightest_decides_and_the_others_are_not_charged(processes: Processes, redis_url: str) -> None:
    assert processes.burst(redis_url, owners=["ada", "her workspace"]).admitted == 20
    assert processes.burst(redis_url, owners=["eve", "her workspace"]).admitted == 0
    assert processes.burst(redis_url, owners=["eve", "another workspace"]).admitted == 20


def test_never_one_too_many_though_redis_is_lost_in_the_middle_of_it(
    services: LocalServices, processes: Processes, redis_url: str
) -> None:
    assert run_bursts(services, processes, SEED, bursts=20) == []


@pytest.mark.parametrize("sabotage", ["own budget", "no memory"])
def test_without_the_protection_the_same_bursts_admit_too_many(services: LocalServices, redis_url: str, sabotage: str) -> None:
    with four_processes() as unprotected:
        assert run_bursts(services, unprotected, SEED, bursts=4, sabotage=sabotage) != []
