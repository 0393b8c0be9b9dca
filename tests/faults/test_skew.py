"""Two releases beside one another, in short, and the controls: without its protection each finds the fault.

In every trial the one comes to the other, goes and comes back, so one order a kind is enough here; `make faults` tries both.
"""

import asyncio

import pytest

from tests.faults.laboratory import Laboratory
from tests.faults.skew import Order, Sabotage, side_by_side
from tests.faults.skew_of_tags import after_the_switch, tags_anew
from tests.faults.skews import SKEWS

SEED = 20_261_125
COMMANDS = 6
FIRST: dict[str, Order] = {
    "other layouts": "old",
    "fewer events": "old",
    "fewer events, other layouts": "new",
    "fewer fields": "old",
    "one more aggregate": "new",
}


def test_every_skew_is_tried() -> None:
    assert FIRST.keys() == SKEWS.keys()


@pytest.mark.parametrize("skew", FIRST)
def test_two_releases_stand_side_by_side(laboratory: Laboratory, skew: str) -> None:
    asyncio.run(side_by_side(laboratory, SEED, SKEWS[skew], FIRST[skew], COMMANDS)).require()


def test_a_release_that_derives_other_tags_takes_the_log_over_and_the_old_one_reads_on(laboratory: Laboratory) -> None:
    asyncio.run(tags_anew(laboratory, SEED, COMMANDS)).require()


def test_after_that_the_old_one_does_not_start(laboratory: Laboratory) -> None:
    asyncio.run(after_the_switch(laboratory, SEED)).require()


CONTROLS: list[tuple[str, Sabotage, str]] = [
    (
        "other layouts",
        {"layouts": ["one name for all layouts"], "this": ["one name for all layouts"]},
        "is ready before it has read models",
    ),
    ("fewer events", {"events": ["the unknown is parked"]}, "parked"),
    ("fewer fields", {"fields": ["strict fields"]}, "fields: not at"),
    (
        "one more aggregate",
        {"this": ["aggregates are no layout"], "memos": ["aggregates are no layout"]},
        "memos verifies: ReadModelFinding(name='feed'",
    ),
    ("one more aggregate", {"this": ["strangers hold"]}, "this: not at"),
]


@pytest.mark.parametrize(("skew", "sabotage", "word"), CONTROLS)
def test_without_its_protection_a_skew_is_found_out(laboratory: Laboratory, skew: str, sabotage: Sabotage, word: str) -> None:
    verdict = asyncio.run(side_by_side(laboratory, SEED, SKEWS[skew], FIRST[skew], COMMANDS, sabotage))
    assert any(word in violation for violation in verdict.violations), verdict.violations


def test_appends_with_the_tags_of_another_release_are_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(tags_anew(laboratory, SEED, COMMANDS, without_check=True))
    assert any("it lacks" in violation for violation in verdict.violations), verdict.violations
