"""Erasing payloads: what the log loses, what it keeps, and how it says so."""

from uuid import UUID

import msgspec
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.erasing import STREAMS_MAX, Erasure, NotErasable, erase_payloads
from infrastructure.log.verify import verify_log
from tests.log_world import SCHEMA, World, number
from tests.projections.engine.test_waiting import foreign


def left(world: World) -> list[int]:
    """The positions whose payloads are there."""
    rows = world.connection.execute(
        "SELECT notification_id FROM events WHERE state IS NOT NULL AND salt IS NOT NULL ORDER BY 1"
    )
    return [row[0] for row in rows.fetchall()]


def test_the_payloads_are_gone_the_log_says_so_and_every_hash_fits(world: World) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    world.record(number(2), TaskCreated("C"))
    world.record(number(1), TaskRenamed("D"))
    hashes = [record.hash for record in world.records()]
    assert erase_payloads(world.connection, SCHEMA, [number(1)]) == Erasure(events=3, position=5)
    assert left(world) == [3, 5]
    row = world.connection.execute("SELECT topic, convert_from(state, 'UTF8') FROM events WHERE notification_id = 5").fetchone()
    assert row is not None
    assert (row[0], msgspec.json.decode(row[1])["streams"]) == ("log.payloads_erased", [str(number(1))])
    found = verify_log(world.database_url, "main")
    assert (found.first_bad, found.erased, found.is_clean) == (None, 3, True)
    stored = world.connection.execute("SELECT hash FROM events ORDER BY notification_id").fetchall()
    assert [bytes(row[0]) for row in stored][:4] == hashes


def test_what_is_appended_later_is_not_erased(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    erase_payloads(world.connection, SCHEMA, [number(1)])
    world.record(number(1), TaskRenamed("B"))
    assert left(world) == [2, 3]


def test_erasing_again_erases_what_came_since_and_says_so_again(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    assert erase_payloads(world.connection, SCHEMA, [number(1)]).events == 1
    world.record(number(1), TaskRenamed("B"))
    assert erase_payloads(world.connection, SCHEMA, [number(1)]) == Erasure(events=1, position=4)
    assert erase_payloads(world.connection, SCHEMA, [number(1), number(1)]) == Erasure(events=0, position=5)


@pytest.mark.parametrize("wrong", ["missing", "foreign", "the log's own", "none", "too many"])
def test_what_cannot_be_erased_is_refused_whole(world: World, wrong: str) -> None:
    world.record(number(1), TaskCreated("A"))
    foreign(world, stream=number(7))
    erase_payloads(world.connection, SCHEMA, [number(1)])
    world.record(number(2), TaskCreated("B"))
    log = world.source().identity().log_id
    others: dict[str, list[UUID]] = {
        "missing": [number(2), number(99)],
        "foreign": [number(2), number(7)],
        "the log's own": [number(2), log],
        "none": [],
        "too many": [number(n) for n in range(STREAMS_MAX + 1)],
    }
    before, head = left(world), world.head()
    with pytest.raises(NotErasable):
        erase_payloads(world.connection, SCHEMA, others[wrong])
    assert (left(world), world.head()) == (before, head)
