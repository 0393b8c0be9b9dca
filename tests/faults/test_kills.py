"""Processes killed at every named point, under load."""

import asyncio
import re
from pathlib import Path

from tests.faults.killing import POINTS, kill_everywhere
from tests.faults.laboratory import Laboratory
from tests.faults.zombies import wake_zombies

SEED = 20_261_122
PROJECT = Path(__file__).parents[2]


def test_a_hundred_kills_at_every_named_point_lose_double_and_reorder_nothing(laboratory: Laboratory) -> None:
    verdict = asyncio.run(kill_everywhere(laboratory, SEED, kills=100)).require()
    assert sum(verdict.kills.values()) >= 100
    assert {point for points in POINTS.values() for point in points} <= set(verdict.kills)


def test_every_named_point_in_the_code_is_one_at_which_processes_are_killed() -> None:
    named = set()
    for folder in ("infrastructure", "projections", "workers", "application", "api"):
        for file in (PROJECT / folder).rglob("*.py"):
            named |= set(re.findall(r'failpoint\("([^"]+)"\)', file.read_text()))
    # An import and another scheme of tags run by themselves and have tests of their own that kill them.
    assert {name for name in named if not name.startswith(("import.", "retagging."))} == {
        point for points in POINTS.values() for point in points
    }


def test_a_worker_that_stops_anywhere_is_replaced_and_does_no_harm_when_it_goes_on(laboratory: Laboratory) -> None:
    asyncio.run(wake_zombies(laboratory, SEED, ("tables.inside", "hot.before_apply"))).require()
