"""What is derived from the events, tags and numbers, is compared with them in both directions."""

from uuid import UUID, uuid4

import pytest

from application.log import NewEvent
from domain import tags
from domain.task.events import TaskCreated
from infrastructure.cli import operations
from infrastructure.log.verify import verify_log
from infrastructure.log.verify_derived import BadDerivation
from infrastructure.settings import Settings
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import an_append, append
from tests.log_world import World, number
from tests.projections.engine.test_waiting import foreign

pytestmark = pytest.mark.usefixtures("_tagged_by_label")

PROJECT = UUID(int=77)


@pytest.fixture
def filled(world: World) -> World:
    """Twenty events: with two tags each but every fourth, which has none, and a number for every other."""
    for place in range(20):
        labels = () if place % 4 == 3 else ("all", f"tag {place % 3}")
        scope = PROJECT if place % 2 else None
        append(world.connection, an_append(NewEvent(uuid4(), 1, TaskCreated("A", labels=labels), scope=scope)))
    assert verify_log(world.database_url, "main").is_clean
    return world


def bad(world: World, *statements: str) -> BadDerivation:
    for statement in statements:
        world.connection.execute(statement.encode())
    found = verify_log(world.database_url, "main")
    assert found.first_bad is None
    assert found.derived_bad is not None
    return found.derived_bad


_PKEY = "ALTER TABLE {0} DROP CONSTRAINT {0}_pkey"


@pytest.mark.parametrize(
    ("statements", "position"),
    [
        (["DELETE FROM event_tags WHERE position = 6"], 6),
        (["DELETE FROM event_tags WHERE position = 9 AND tag IN (SELECT tag FROM event_tags WHERE position = 6)"], 9),
        (["INSERT INTO event_tags VALUES (gen_random_uuid(), 7)"], 7),
        (["INSERT INTO event_tags VALUES (gen_random_uuid(), 8)"], 8),
        (["UPDATE event_tags SET tag = gen_random_uuid() WHERE position = 10"], 10),
        (["UPDATE event_tags SET position = 8 WHERE position = 5"], 5),
        (["UPDATE event_tags SET position = 4 WHERE position = 5"], 4),
        (["INSERT INTO event_tags VALUES (gen_random_uuid(), 1000000)"], 1000000),
        (["INSERT INTO event_tags VALUES (gen_random_uuid(), -3)"], -3),
        (["TRUNCATE event_tags"], 1),
        ([_PKEY.format("event_tags"), "INSERT INTO event_tags SELECT * FROM event_tags WHERE position = 13"], 13),
    ],
)
def test_tags_that_are_not_those_of_the_events_are_found(filled: World, statements: list[str], position: int) -> None:
    found = bad(filled, *statements)
    assert (found.table, found.position) == ("event_tags", position)


@pytest.mark.parametrize(
    ("statements", "position"),
    [
        (["DELETE FROM event_numbers WHERE number = 3"], 6),
        (["UPDATE event_numbers SET number = 99 WHERE number = 4"], 8),
        (["UPDATE event_numbers SET position = 7 WHERE number = 4"], 7),
        (["UPDATE event_numbers SET scope = gen_random_uuid() WHERE number = 5"], 10),
        (["INSERT INTO event_numbers VALUES (gen_random_uuid(), 1, 11)"], 11),
        (["INSERT INTO event_numbers SELECT scope, 11, 2000 FROM event_numbers LIMIT 1"], 2000),
        (["TRUNCATE event_numbers"], 2),
        ([_PKEY.format("event_numbers"), "INSERT INTO event_numbers SELECT * FROM event_numbers WHERE number = 6"], 12),
    ],
)
def test_numbers_that_are_not_those_of_the_events_are_found(filled: World, statements: list[str], position: int) -> None:
    found = bad(filled, *statements)
    assert (found.table, found.position) == ("event_numbers", position)


@pytest.mark.parametrize("given", ["1", "99"])
def test_a_number_that_was_given_twice_or_left_a_gap_is_found_at_its_event(filled: World, given: str) -> None:
    # As a log would have done it whose lock was bypassed: the table and the events agree, and the hashes fit.
    statements = [_PKEY.format("event_numbers"), f"UPDATE event_numbers SET number = {given} WHERE number = 10"]
    append(filled.connection, an_append(NewEvent(number(5), 1, TaskCreated("A"))))
    for statement in statements:
        filled.connection.execute(statement.encode())
    append(filled.connection, an_append(NewEvent(uuid4(), 1, TaskCreated("A"), scope=PROJECT)))
    filled.connection.execute(f"UPDATE event_numbers SET number = 10 WHERE position = 20 AND number = {given}".encode())
    found = verify_log(filled.database_url, "main")
    assert found.derived_bad is not None
    assert (found.derived_bad.table, found.derived_bad.position) == ("event_numbers", 22)


def test_the_lowest_position_is_named(filled: World) -> None:
    found = bad(filled, "DELETE FROM event_tags WHERE position = 14", "DELETE FROM event_numbers WHERE position IN (12, 16)")
    assert (found.table, found.position) == ("event_numbers", 12)


def test_an_erased_payload_cannot_be_asked_for_its_tags(filled: World) -> None:
    filled.connection.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id = 6")
    assert verify_log(filled.database_url, "main").is_clean
    assert bad(filled, "INSERT INTO event_tags VALUES (gen_random_uuid(), 7)").position == 7


def test_what_cannot_be_derived_here_is_said_and_not_compared(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "TAG_SCHEME", 2)
    found = verify_log(filled.database_url, "main")
    assert (found.is_clean, found.tags_not_compared) == (True, "the log derives them by scheme 1, this release by 2")


@pytest.mark.parametrize(
    ("topic", "is_compared"),
    [("sprint.begun", False), ("bank.accounts:Account.Opened", True), ("log.something_happened", True)],
)
def test_tags_of_an_aggregate_that_only_a_newer_release_has_are_not_compared(
    filled: World, topic: str, is_compared: bool
) -> None:
    position = foreign(filled, topic)
    filled.connection.execute("INSERT INTO event_tags VALUES (gen_random_uuid(), %s)", (position,))
    found = verify_log(filled.database_url, "main")
    said = "" if is_compared else f"event type {topic!r} is unknown to this release"
    assert (found.is_clean, found.tags_not_compared) == (not is_compared, said)


def test_the_command_says_it_with_its_exit_code(filled: World, capsys: pytest.CaptureFixture[str]) -> None:
    filled.connection.execute("DELETE FROM event_tags WHERE position = 6")
    assert operations.verify(Settings(database_url=filled.database_url), as_json=False) == 1
    shown = capsys.readouterr().out
    assert "NOT WHAT THE EVENTS SAY event_tags at position 6: it lacks" in shown
    assert "every event up to position 20 is as it was appended" in shown
