"""Trials of what answers say about themselves, in short, and the controls: without its protection each finds the fault."""

import asyncio

from tests.faults.laboratory import Laboratory
from tests.faults.truths import crash_after_an_applied_read, lose_keys, restore, stop_a_rebuild

SEED = 20_261_125


def noticed(violations: list[str], word: str) -> bool:
    return any(word in violation for violation in violations)


def test_after_a_crash_no_older_answer_passes_for_what_was_asked_for(laboratory: Laboratory) -> None:
    crash_after_an_applied_read(laboratory, SEED, times=2).require()


def test_an_announcement_that_is_believed_after_a_crash_is_found_out(laboratory: Laboratory) -> None:
    verdict = crash_after_an_applied_read(laboratory, SEED, times=2, sabotage=("announced counts",))
    assert noticed(verdict.violations, "was asked for")


def test_after_a_restore_nothing_of_the_lost_history_is_answered(laboratory: Laboratory) -> None:
    asyncio.run(restore(laboratory, SEED)).require()


def test_redis_that_is_believed_of_another_log_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(restore(laboratory, SEED, sabotage=("any log",)))
    assert noticed(verdict.violations, "shows what was lost")


def test_a_refusal_at_the_newest_position_known_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(restore(laboratory, SEED, sabotage=("newest known",)))
    assert noticed(verdict.violations, "the log ends at")


def test_lost_keys_hide_nothing_and_are_built_again(laboratory: Laboratory) -> None:
    asyncio.run(lose_keys(laboratory, SEED, ("t", "c"))).require()


def test_a_missing_key_that_is_taken_for_a_missing_task_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(lose_keys(laboratory, SEED, ("t",), heal_seconds=2, sabotage=("missing is no",)))
    assert noticed(verdict.violations, "is 404 at")


def test_keys_of_another_type_corrupt_and_stop_nobody(laboratory: Laboratory) -> None:
    asyncio.run(lose_keys(laboratory, SEED, ("r", "c"), wrong_type=True)).require()


def test_scripts_that_write_unchecked_are_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(lose_keys(laboratory, SEED, ("c",), wrong_type=True, heal_seconds=5, sabotage=("unchecked keys",)))
    assert noticed(verdict.violations, "Redis")


def test_a_rebuild_that_is_stopped_in_its_switch_stops_nobody(laboratory: Laboratory) -> None:
    asyncio.run(stop_a_rebuild(laboratory, SEED)).require()


def test_a_switch_without_limits_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(
        stop_a_rebuild(laboratory, SEED, ("rebuild.table_before_commit",), seconds=1, sabotage=("no limits",))
    )
    assert noticed(verdict.violations, "reads were refused")
