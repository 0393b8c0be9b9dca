"""Two hundred changes of twelve kinds, made by somebody with all rights in the database: each is found where it was made."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from application.log import NewEvent
from domain.task.events import TaskCreated, TaskLabelAdded, TaskRenamed
from infrastructure.log.verify import Verification, verify_log
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log.test_verify import CHANGES
from tests.infrastructure.log_under_test import an_append, append
from tests.log_world import World

pytestmark = pytest.mark.usefixtures("_tagged_by_label")

STREAMS = 30
THEN = datetime(2020, 1, 1, tzinfo=UTC)
ERASED = (4, 41, 77)
KEPT = ("events", "event_tags", "event_numbers")
# An event that is there with its payload, and is not the newest of the log.
Place = int
Tampering = Callable[[random.Random, Place, int], tuple[list[str], int]]


def a_column(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    column = chance.choice(list(CHANGES))
    return [f"UPDATE events SET {column} = {CHANGES[column]} WHERE notification_id = {at}"], at


def a_byte_of_the_payload(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    byte = chance.randrange(20)
    return [f"UPDATE events SET state = set_byte(state, {byte}, get_byte(state, {byte}) # 1) WHERE notification_id = {at}"], at


def a_byte_of_the_salt(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    byte = chance.randrange(16)
    return [f"UPDATE events SET salt = set_byte(salt, {byte}, get_byte(salt, {byte}) # 1) WHERE notification_id = {at}"], at


def a_bit_of_the_hash(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    bit = chance.randrange(256)
    return [f"UPDATE events SET hash = set_bit(hash, {bit}, 1 - get_bit(hash, {bit})) WHERE notification_id = {at}"], at


def half_an_erasure(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    return [f"UPDATE events SET {chance.choice(['state', 'salt'])} = NULL WHERE notification_id = {at}"], at


def another_payload_with_a_commitment_of_its_own(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    forged = 'convert_to(\'{"type":"task.renamed","title":"forged"}\', \'UTF8\')'
    return [f"UPDATE events SET state = {forged}, commitment = sha256(salt || {forged}) WHERE notification_id = {at}"], at


def an_event_taken_out(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    return [f"DELETE FROM events WHERE notification_id = {at}"], at


def two_events_that_changed_places(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    column, other = chance.choice(["notification_id", "command_id"]), at
    while other == at:
        other = chance.randrange(1, head + 1)
    swap = (
        f"UPDATE events e SET {column} = o.{column} FROM events o WHERE (e.notification_id, o.notification_id) IN "
        f"(({at}, {other}), ({other}, {at}))"
    )
    return ["ALTER TABLE events DROP CONSTRAINT events_pkey", "DROP INDEX events_notification_id", swap], min(at, other)


def an_event_copied_to_the_end(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    columns = [column for column in CHANGES if column not in ("originator_version", "notification_id")]
    return [
        f"INSERT INTO events (originator_version, notification_id, {', '.join(columns)}) "
        f"SELECT originator_version + 5000, {head + 1}, {', '.join(columns)} FROM events WHERE notification_id = {at}"
    ], head + 1


def a_tag_too_few(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    tagged = at - at % 3 + 1
    return [f"DELETE FROM event_tags WHERE position = {tagged}"], tagged


def a_tag_too_many(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    return [f"INSERT INTO event_tags VALUES ('{UUID(int=chance.getrandbits(128))}', {at})"], at


def a_number_that_is_not_the_events(chance: random.Random, at: Place, head: int) -> tuple[list[str], int]:
    numbered = at - at % 3 + 1
    change = chance.choice(["number = number + 1000", "scope = gen_random_uuid()"])
    return [f"UPDATE event_numbers SET {change} WHERE position = {numbered}"], numbered


KINDS: tuple[Tampering, ...] = (
    a_column,
    a_byte_of_the_payload,
    a_byte_of_the_salt,
    a_bit_of_the_hash,
    half_an_erasure,
    another_payload_with_a_commitment_of_its_own,
    an_event_taken_out,
    two_events_that_changed_places,
    an_event_copied_to_the_end,
    a_tag_too_few,
    a_tag_too_many,
    a_number_that_is_not_the_events,
)


@pytest.fixture
def log(world: World) -> World:
    """Streams of three events each: created with a tag and a number, a label added, renamed. Some payloads were erased."""
    scope = uuid4()
    for place in range(STREAMS):
        stream = uuid4()
        news = (
            NewEvent(stream, 1, TaskCreated("A", labels=(f"tag {place % 5}",)), THEN, scope),
            NewEvent(stream, 2, TaskLabelAdded("late"), THEN),
            NewEvent(stream, 3, TaskRenamed("B"), THEN),
        )
        append(world.connection, an_append(*news))
    for position in ERASED:
        world.connection.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id = %s", (position,))
    for table in KEPT:
        world.connection.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}".encode())
    return world


def put_right(log: World) -> None:
    statements = ["ALTER TABLE events DROP CONSTRAINT IF EXISTS events_pkey"]
    for table in KEPT:
        statements += [f"TRUNCATE {table}", f"INSERT INTO {table} SELECT * FROM kept_{table}"]
    statements += [
        "CREATE UNIQUE INDEX IF NOT EXISTS events_notification_id ON events (notification_id)",
        "ALTER TABLE events ADD PRIMARY KEY (originator_id, originator_version)",
    ]
    for statement in statements:
        log.connection.execute(statement.encode())


def place_of(found: Verification) -> int | None:
    """The lowest position that is named."""
    places = [bad.position for bad in (found.first_bad, found.derived_bad) if bad]
    return min(places, default=None)


@pytest.mark.parametrize("seed", range(4))
def test_fifty_changes_are_each_found_where_they_were_made(log: World, seed: int) -> None:
    chance = random.Random(seed)
    head = log.head()
    whole = verify_log(log.database_url, "main")
    assert (whole.is_clean, whole.erased) == (True, len(ERASED))
    # A number that an event does not have follows from none, and one that was taken from the table is missing at its event.
    places = [at for at in range(1, head) if at not in ERASED and at - at % 3 + 1 not in ERASED and at % 3]
    for turn in range(50):
        kind = KINDS[turn % len(KINDS)]
        statements, position = kind(chance, chance.choice(places), head)
        for statement in statements:
            log.connection.execute(statement.encode())
        assert place_of(verify_log(log.database_url, "main")) == position, (kind.__name__, statements)
        put_right(log)
    assert verify_log(log.database_url, "main").is_clean
