"""Who has to wait holds up nobody else: far behind, held by an event or by its tables, or among foreign events."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

import infrastructure.log.source
import projections.engine.changes
import projections.feed.feed
from domain.task.events import TaskCompleted, TaskCreated, TaskRenamed
from infrastructure.cli.projection_operations import read_status
from infrastructure.log.codec import FIRST_VERSION
from infrastructure.log.erasing import erase_payloads
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.settings import Settings
from projections import ALL, DOCUMENTS, HOT, TABLES
from projections.engine.changes import Change, ChangeReader
from projections.engine.port import Hold
from projections.engine.projector import Projector
from projections.feed.entries import HistoryEntry
from projections.feed.feed import changes_after
from projections.tables.bounds import Room
from projections.task.document import document_size
from projections.task.list import get_task
from tests.log_world import HOME, LOG, SCHEMA, World, number
from tests.older_release import forget
from tests.projections.recording import Recording, applied, checkpoint, prepare, tasks


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


# Turns


def test_a_read_model_that_begins_at_0_holds_up_nobody(world: World) -> None:
    prepare(world, "new", "old")
    tasks(world, 60)
    world.tables([Recording("old")]).catch_up()
    tasks(world, 10, first=100)
    projector = world.tables([Recording("new"), Recording("old")])
    # Ten steps of five events: whoever goes first, the one that has ten to do is done long before the other has seventy.
    for _ in range(5):
        projector.advance(5)
    assert world.position("old") == 70
    assert world.position("new") >= 10
    projector.catch_up()
    assert applied(world, "new") == list(range(1, 71)) == applied(world, "old")


def test_turns_are_whole_batches_whatever_the_distance_of_others(world: World) -> None:
    prepare(world, "new", "old")
    tasks(world, 40)
    world.tables([Recording("old")]).catch_up()
    tasks(world, 40, first=100)
    projector = world.tables([Recording("new"), Recording("old")])
    assert [projector.advance(10) for _ in range(6)] == [10] * 6


# Holding


def test_an_event_of_a_newer_release_holds_only_those_that_have_come_to_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(world, "ahead", "behind")
    tasks(world, 5)
    world.tables([Recording("ahead")]).catch_up()
    world.record(number(1), TaskRenamed("new"))
    forget(monkeypatch, TaskRenamed)
    projector = world.tables([Recording("ahead"), Recording("behind")])
    with pytest.raises(Hold):
        projector.catch_up()
    assert applied(world, "behind") == [1, 2, 3, 4, 5]


def test_a_stream_whose_earlier_events_only_a_newer_release_could_read_holds_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(world, "shared")
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    world.tables([Recording("shared")]).catch_up()
    world.record(number(2), TaskCreated("C"))
    world.record(number(1), TaskCompleted())
    forget(monkeypatch, TaskRenamed)
    projector = world.tables([Recording("shared")])
    with pytest.raises(Hold):
        projector.catch_up()
    held = checkpoint(world, "shared").held
    assert held is not None
    assert "earlier events" in held
    assert world.parked("shared") == []


@pytest.mark.parametrize("hot", [False, True])
def test_what_was_erased_of_a_stream_that_only_a_newer_release_could_read_holds(
    world: World, monkeypatch: pytest.MonkeyPatch, hot: bool
) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    world.project()
    erase_payloads(world.connection, SCHEMA, [number(1)])
    forget(monkeypatch, TaskRenamed)
    name = HOT if hot else "task_list"
    projector = world.hot(begin=False) if hot else world.tables()
    for _ in range(4):
        with pytest.raises(Hold):
            projector.catch_up()
    assert checkpoint(world, name).held is not None
    assert checkpoint(world, name).attempts == 0
    assert world.parked(name) == []


WRONG_TABLES: dict[str, psycopg.Error] = {
    "a column is missing": psycopg.errors.UndefinedColumn("column x does not exist"),
    "a table is missing": psycopg.errors.UndefinedTable("relation y does not exist"),
    "a right is missing": psycopg.errors.InsufficientPrivilege("permission denied"),
    "a type is another": psycopg.errors.DatatypeMismatch("column is of type"),
    "a feature is missing": psycopg.errors.FeatureNotSupported("cached plan must not change result type"),
    "a schema is missing": psycopg.errors.InvalidSchemaName("no schema has been selected"),
    "a column wants a value": psycopg.errors.NotNullViolation("null value in column"),
    "an index is broken": psycopg.errors.IndexCorrupted("x"),
    "the statement is wrong": psycopg.ProgrammingError("the query has 2 placeholders but 1 parameters were passed"),
}


@pytest.mark.parametrize("trouble", WRONG_TABLES)
def test_tables_of_another_release_hold_their_read_model_and_park_no_healthy_event(world: World, trouble: str) -> None:
    prepare(world, "one", "two")
    tasks(world, 5)
    away = True

    def wrong(_change: Change) -> None:
        if away:
            raise WRONG_TABLES[trouble]

    projector = world.tables([Recording("one", wrong), Recording("two")])
    for _ in range(5):
        with pytest.raises(Hold):
            projector.catch_up()
        projector.forget()
    assert (world.parked("one"), applied(world, "one"), applied(world, "two")) == ([], [], [1, 2, 3, 4, 5])
    assert "not those of this release" in (checkpoint(world, "one").held or "")
    assert checkpoint(world, "one").attempts == 0
    away = False
    projector.catch_up()
    assert applied(world, "one") == [1, 2, 3, 4, 5]
    assert checkpoint(world, "one").held is None


def test_a_real_column_that_is_missing_holds_one_read_model_and_the_others_go_on(
    world: World, projecting: LogProjecting
) -> None:
    """A new worker on tables that were not migrated."""
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("ALTER TABLE task_list RENAME COLUMN words TO old_words")
    for _ in range(4):
        projecting.sweep()
    assert {projection.name: world.position(projection.name) for projection in TABLES} == {
        "task_list": 0,
        "feed": 1,
        "flow": 1,
        "task_snapshots": 1,
        "project_list": 1,
    }
    assert world.parked("task_list") == []
    models = {model.name: model for model in read_status(_settings(world)).read_models}
    assert "words" in (models["task_list"].held or "")
    world.connection.execute("ALTER TABLE task_list RENAME COLUMN old_words TO words")
    projecting.sweep()
    assert world.position("task_list") == 1


def _settings(world: World) -> Settings:
    return Settings(database_url=world.database_url, redis_url=world.redis_url)


# Foreign events


def foreign(world: World, topic: str = "bank.accounts:Account.Opened", stream: UUID | None = None) -> int:
    """An event of somebody else's application, appended as the library's recorder does it."""
    row = world.connection.execute(
        "SELECT first_positions FROM append_events(ARRAY[1], ARRAY[%(id)s::uuid], ARRAY[%(id)s::uuid], ARRAY[%(id)s::uuid], "
        "ARRAY[%(id)s::uuid], ARRAY[NULL::uuid], ARRAY[0::bigint], ARRAY[NULL], ARRAY[NULL::bytea], ARRAY['{'], ARRAY[1], "
        "ARRAY[%(stream)s::uuid], ARRAY[1::bigint], ARRAY[NULL::timestamptz], ARRAY[%(version)s], ARRAY[%(topic)s], "
        "ARRAY[uuid_send(%(id)s::uuid) || '{\"balance\": 1}'::bytea], '{}', '{}', '{}', '{}', '{}', '{}', 1)",
        {"id": uuid4(), "stream": stream or uuid4(), "version": FIRST_VERSION, "topic": topic},
    ).fetchone()
    assert row
    return int(row[0][0])


@pytest.mark.parametrize("topic", ["bank.accounts:Account.Opened", "task.module:Task.Created", "opened", "", "Task.created"])
def test_a_foreign_event_is_passed_over_by_every_read_model(world: World, projecting: LogProjecting, topic: str) -> None:
    foreign(world, topic)
    world.record(number(1), TaskCreated("A"))
    foreign(world, topic)
    world.record(number(1), TaskRenamed("B"))
    head = foreign(world, topic)
    projecting.sweep()
    models = {model.name: model for model in read_status(_settings(world)).read_models}
    for name in ALL:
        assert (models[name].position, models[name].held, models[name].parked) == (head, None, 0), name
    found, position = world.ask(lambda c: get_task(c, HOME, number(1)))
    assert (found and found[0], position) == (2, head)
    entries = world.ask(lambda c: changes_after(c, HOME, 0, Room(10))).items
    assert [msgspec.json.decode(entry)["position"] for entry in entries] == [2, 4]


def test_a_log_of_foreign_events_alone_is_passed_over_and_can_be_rebuilt(world: World, projecting: LogProjecting) -> None:
    for _ in range(3):
        head = foreign(world)
    projecting.sweep()
    world.redis.flushdb()
    projecting.sweep()
    assert {model.position for model in read_status(_settings(world)).read_models} == {head}


@pytest.mark.parametrize("topic", ["task.teleported", "task."])
def test_an_unknown_type_of_our_own_still_holds(world: World, projecting: LogProjecting, topic: str) -> None:
    world.record(number(1), TaskCreated("A"))
    foreign(world, topic)
    projecting.sweep()
    models = {model.name: model for model in read_status(_settings(world)).read_models}
    assert {model.position for model in models.values()} == {1}
    assert all(topic in (model.held or "") for name, model in models.items() if name != HOT)


# The feed


def entries(world: World) -> list[HistoryEntry]:
    return [
        msgspec.json.decode(entry, type=HistoryEntry)
        for entry in world.ask(lambda c: changes_after(c, HOME, 0, Room(100))).items
    ]


def breaking(monkeypatch: pytest.MonkeyPatch, position: int) -> None:
    render: Callable[..., HistoryEntry] = projections.feed.feed.history_entry

    def broken(change: Change, *others: Any) -> HistoryEntry:
        if change.record.position == position:
            raise ValueError("a bug")
        return render(change, *others)

    monkeypatch.setattr(projections.feed.feed, "history_entry", broken)


def test_an_event_that_the_feed_cannot_render_becomes_a_plain_entry_in_its_place(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B", reason="why not"), TaskCompleted())
    breaking(monkeypatch, 2)
    projecting.sweep()
    found = entries(world)
    assert [(entry.position, entry.version, entry.type) for entry in found] == [
        (1, 1, "task.created"),
        (2, 2, "task.renamed"),
        (3, 3, "task.completed"),
    ]
    assert (found[1].hash, found[1].changes, found[1].reason) == (world.records()[1].hash.hex(), (), None)
    assert [change.field for change in found[2].changes] == ["status"]
    assert world.parked("feed") == []
    assert world.position("task_list") == 3


def test_a_feed_that_can_take_an_event_in_no_form_holds_and_the_others_go_on(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    with monkeypatch.context() as broken:
        breaking(broken, 2)

        def nothing(*_: Any) -> None:
            raise ValueError("not even that")

        broken.setattr(projections.feed.feed.Feed, "apply_plainly", nothing)
        for _ in range(3):
            projecting.sweep()
        assert [world.position(name) for name in ("feed", "task_list", "flow")] == [1, 2, 2]
        assert "event 2 cannot be taken" in (checkpoint_of(world, "feed") or "")
    projecting.sweep()
    assert [entry.position for entry in entries(world)] == [1, 2]
    assert world.parked("feed") == []


def checkpoint_of(world: World, name: str) -> str | None:
    row = world.connection.execute("SELECT held FROM checkpoints WHERE projection = %s", (name,)).fetchone()
    assert row
    held: str | None = row[0]
    return held


def test_a_follower_of_the_feed_misses_nothing_whatever_failed(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It remembers how far it has read; what came in behind that would never be seen."""
    seen: list[int] = []
    for position in range(1, 7):
        world.record(number(position), TaskCreated("A"))
        with monkeypatch.context() as broken:
            if position % 2:
                breaking(broken, position)
            projecting.sweep()
        after = seen[-1] if seen else 0
        items = world.ask(lambda c, after=after: changes_after(c, HOME, after, Room(10))).items
        seen += [msgspec.json.decode(entry)["position"] for entry in items]
    assert seen == [1, 2, 3, 4, 5, 6]


# Memory


def test_what_a_reader_keeps_is_bounded_in_bytes(world: World) -> None:
    text = "\N{GRINNING FACE}" * 16_000
    for n in range(1, 61):
        world.record(number(n), TaskCreated("T", text))
    reader = ChangeReader(world.source(), DOCUMENTS, kept_bytes=1_000_000)
    place = 0
    while batch := reader.after(place, 7):
        place = batch[-1].record.position
        assert reader.kept_bytes <= 1_000_000
    assert place == 60
    world.record(number(3), TaskRenamed("still known"))
    (last,) = reader.after(60, 5)
    assert isinstance(last, Change)
    assert last.before is not None
    assert last.before.task.description == text
    assert reader._document_bytes == sum(document_size(document) for document, _ in reader._documents.values())
    assert reader._recent_bytes == sum(
        1000 + document_size(entry.after) for entry in reader._recent if isinstance(entry, Change)
    )


def test_a_batch_is_bounded_in_bytes_and_nothing_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.log.source._AFTER", infrastructure.log.source._AFTER.replace(b"8388608", b"100000"))
    prepare(world, "one")
    for n in range(1, 21):
        world.record(number(n), TaskCreated("T", "x" * 30_000))
    projector = Projector(world.tables([Recording("one")])._store, ChangeReader(world.source(), DOCUMENTS))
    assert 1 <= projector.advance() <= 4
    projector.catch_up()
    assert applied(world, "one") == list(range(1, 21))
