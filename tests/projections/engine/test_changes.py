"""ChangeReader: every change with the task before and after it, however it is read."""

from typing import Any

import psycopg
import pytest

import projections.engine.changes
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.codec import owner
from infrastructure.log.source import PostgresLogSource
from projections import DOCUMENTS
from projections.engine.changes import Change, ChangeReader, Entry, ForeignEvent
from projections.task.document import TaskRecord
from tests.generated_history import append_history
from tests.log_world import World, number


def plainly(world: World) -> list[Change[Any]]:
    """All changes by the plain folds, without any reader."""
    documents: dict[object, Any] = {}
    changes = []
    for record in world.records():
        aggregate = owner(record.event).name
        before = documents.get(record.stream_id)
        documents[record.stream_id] = DOCUMENTS[aggregate].fold(before, record)
        changes.append(Change(record, before, documents[record.stream_id], aggregate))
    return changes


def read_on(reader: ChangeReader, position: int, limit: int, until: int) -> list[Entry]:
    found: list[Entry] = []
    while position < until:
        batch = reader.after(position, limit)
        assert 0 < len(batch) <= limit
        found += batch
        position = batch[-1].record.position
    return found


class CountingSource(PostgresLogSource):
    """The real one, that also remembers what it was asked for."""

    asked: list[int]

    def events_after(self, position: int, limit: int) -> list[TaskRecord | ForeignEvent]:
        self.asked.append(position)
        return super().events_after(position, limit)


def counting(world: World) -> tuple[ChangeReader, CountingSource]:
    source = world.keep(CountingSource(world.database_url, "main"))
    source.asked = []
    return ChangeReader(source, DOCUMENTS), source


def test_a_reader_folds_like_the_plain_fold_in_steps_of_any_size(world: World) -> None:
    head = append_history(world, seed=3, commands=300)
    for limit in (1, 7, 1000):
        assert read_on(ChangeReader(world.source(), DOCUMENTS), 0, limit, head) == plainly(world)


def test_readers_at_several_places_share_one_reader_without_gaps(world: World) -> None:
    head = append_history(world, seed=4, commands=300)
    reader, expected = ChangeReader(world.source(), DOCUMENTS), plainly(world)
    places = {"a": 0, "b": 0, "c": head // 2}
    step = {"a": 50, "b": 3, "c": 20}
    while any(place < head for place in places.values()):
        for name, place in places.items():
            batch = reader.after(place, step[name])
            assert batch == expected[place : place + len(batch)]
            places[name] = place + len(batch)
            assert batch or place == head


def test_what_was_just_read_is_not_read_again(world: World) -> None:
    for n in range(1, 11):
        world.record(number(n), TaskCreated("T"))
    reader, source = counting(world)
    reader.after(0, 5)
    reader.after(5, 5)
    assert [change.record.position for change in reader.after(2, 4)] == [3, 4, 5, 6]
    assert reader.after(0, 10) == plainly(world)
    assert source.asked == [0, 5]


def test_evicted_tasks_are_recovered_from_log_and_snapshots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    head = append_history(world, seed=5, commands=400)
    world.project()
    assert world.table_dump(["task_snapshots"])["task_snapshots"]
    monkeypatch.setattr(projections.engine.changes, "KEPT_DOCUMENTS", 2)
    monkeypatch.setattr(projections.engine.changes, "KEPT_CHANGES", 5)
    reader = ChangeReader(world.source(), DOCUMENTS)
    assert read_on(reader, 0, 3, head) == plainly(world)
    assert len(reader._documents) <= 2
    assert len(reader._recent) <= 5


def test_a_reader_that_starts_late_knows_what_was_before(world: World) -> None:
    head = append_history(world, seed=6, commands=200)
    expected = plainly(world)
    for start in (1, head // 3, head - 1):
        assert read_on(ChangeReader(world.source(), DOCUMENTS), start, 20, head) == expected[start:]


def test_going_back_does_not_use_later_states(world: World) -> None:
    world.record(number(1), TaskCreated("1"), TaskRenamed("2"), TaskRenamed("3"), TaskRenamed("4"))
    reader = ChangeReader(world.source(), DOCUMENTS)
    reader.after(2, 2)
    assert reader.after(1, 1) == plainly(world)[1:2]
    assert reader.after(3, 1) == plainly(world)[3:]


def test_a_lost_connection_makes_it_forget(world: World) -> None:
    """Behind a new connection there may be another log."""
    world.record(number(1), TaskCreated("1"), TaskRenamed("2"))
    reader, _ = counting(world)
    reader.after(0, 10)
    world.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskmaster log reader'"
    )
    with pytest.raises(psycopg.OperationalError):
        reader.after(2, 10)
    world.connection.execute("UPDATE events SET hash = '\\x01' WHERE notification_id = 2")
    assert reader.hash_at(2) == b"\x01"
    assert [change.record.hash for change in reader.after(1, 1)] == [b"\x01"]


def test_hashes_are_those_of_the_log(world: World) -> None:
    world.record(number(1), TaskCreated("1"), TaskRenamed("2"))
    reader = ChangeReader(world.source(), DOCUMENTS)
    records = world.records()
    assert reader.hash_at(1) == records[0].hash
    reader.after(0, 10)
    assert [reader.hash_at(n) for n in (0, 1, 2, 3)] == [None, records[0].hash, records[1].hash, None]
