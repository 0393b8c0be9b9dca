"""The engine: every event exactly once, whatever fails and however many work at it."""

import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

import infrastructure.read_models.table_store
from domain.task.events import TaskRenamed
from infrastructure.log.source import Reconnecting
from infrastructure.read_models.table_store import AHEAD_FROM, TableStore
from projections.engine.changes import Change
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Hold, Incomplete, Moved
from projections.engine.projector import Projector
from tests.log_world import SCHEMA, World, number
from tests.older_release import forget
from tests.projections.recording import Recording, applied, checkpoint, poisoned, prepare, tasks


def race(world: World, events: int, workers: int = 4) -> None:
    """Several projectors on one store, each in a thread of its own, until everybody has seen the head."""
    barrier = threading.Barrier(workers)

    def work(projector: Projector) -> None:
        barrier.wait()
        while world_head > max(known.position for known in projector._store.checkpoints()):
            try:
                projector.advance(3)
            except Moved:
                projector.forget()

    world_head = events
    threads = [threading.Thread(target=work, args=(world.tables([Recording("one")]),)) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_projectors_that_alternate_apply_every_event_once(world: World) -> None:
    prepare(world, "one")
    tasks(world, 20)
    first, second = world.tables([Recording("one")]), world.tables([Recording("one")])
    assert (first.advance(3), second.advance(4)) == (3, 4)
    with pytest.raises(Moved):
        first.advance(5)
    first.forget()
    assert first.advance(5) > 0
    with pytest.raises(Moved):
        second.advance(1)
    assert second.catch_up() > 0
    assert applied(world, "one") == list(range(1, 21))


def test_projectors_that_race_apply_every_event_once(world: World) -> None:
    prepare(world, "one")
    tasks(world, 60)
    race(world, 60)
    assert applied(world, "one") == list(range(1, 61))


def test_without_equality_the_race_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a store that only asks whether the checkpoint is before the batch's end applies events twice."""
    held = threading.Barrier(2)

    def before_the_end(expected: list[Checkpoint], found: list[Checkpoint]) -> None:
        for place in found:
            if place.position < expected[0].position:
                raise Moved(place.projection)

    monkeypatch.setattr(infrastructure.read_models.table_store, "_require_place", before_the_end)
    prepare(world, "one")
    tasks(world, 20)
    projectors = [world.tables([Recording("one")]) for _ in range(2)]

    def work(projector: Projector) -> None:
        projector._known = projector._store.checkpoints()
        held.wait()
        projector.advance(10)

    threads = [threading.Thread(target=work, args=(projector,)) for projector in projectors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert applied(world, "one") != list(range(1, 11))


def test_a_checkpoint_that_went_back_is_no_place_to_write_either(world: World) -> None:
    prepare(world, "one")
    tasks(world, 10)
    projector = world.tables([Recording("one")])
    projector.advance(5)
    world.connection.execute("UPDATE checkpoints SET position = 2 WHERE projection = 'one'")
    with pytest.raises(Moved):
        projector.advance(5)
    assert applied(world, "one") == [1, 2, 3, 4, 5]


def test_a_rebuild_at_the_same_position_is_noticed(world: World) -> None:
    prepare(world, "one")
    tasks(world, 10)
    projector = world.tables([Recording("one")])
    projector.advance(5)
    world.connection.execute("UPDATE checkpoints SET generation = generation + 1 WHERE projection = 'one'")
    with pytest.raises(Moved):
        projector.advance(5)
    assert projector.catch_up() == 5 or projector.catch_up() == 0
    assert applied(world, "one") == list(range(1, 11))


def test_a_process_that_ends_between_batches_is_followed_without_a_gap(world: World) -> None:
    prepare(world, "one")
    tasks(world, 20)
    for _ in range(5):
        world.tables([Recording("one")]).advance(3)
    world.tables([Recording("one")]).catch_up()
    assert applied(world, "one") == list(range(1, 21))


def test_a_batch_that_fails_leaves_nothing_behind(world: World) -> None:
    prepare(world, "one")
    tasks(world, 5)
    tasks(world, 1, 6, "poison")
    world.tables([Recording("one", poisoned)]).advance(100)
    assert applied(world, "one") == []
    assert world.position("one") == 0


def _holding(world: World, projector: Projector) -> str:
    with pytest.raises(Hold):
        projector.catch_up()
    return checkpoint(world, "one").held or ""


def test_an_unknown_event_type_holds_until_a_release_knows_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(world, "one")
    tasks(world, 3)
    world.record(number(1), TaskRenamed("new"))
    tasks(world, 2, 10)
    forget(monkeypatch, TaskRenamed)
    projector = world.tables([Recording("one")])
    assert "task.renamed" in _holding(world, projector)
    assert "task.renamed" in _holding(world, projector)
    assert (applied(world, "one"), world.parked("one")) == ([1, 2, 3], [])
    monkeypatch.undo()
    projector.catch_up()
    assert applied(world, "one") == list(range(1, 7))
    assert checkpoint(world, "one").held is None


def test_a_payload_from_a_newer_release_holds_as_well(world: World) -> None:
    prepare(world, "one")
    tasks(world, 2)
    world.connection.execute(
        """UPDATE events SET state = '{"type":"task.created","title":"x","priority":"galactic"}' WHERE notification_id = 2"""
    )
    assert "galactic" in _holding(world, world.tables([Recording("one")]))
    assert applied(world, "one") == [1]


def test_projections_at_different_positions_meet_and_then_share_transactions(world: World) -> None:
    prepare(world, "a", "b", "c")
    tasks(world, 30)
    for name, start in (("a", 5), ("b", 12)):
        while world.position(name) < start:
            world.tables([Recording(name)]).advance(start)
    written: list[tuple[list[str], int]] = []

    class Watched(TableStore):
        def write(self, expected, changes):  # type: ignore[no-untyped-def]  # as in the class it watches
            super().write(expected, changes)
            written.append(([each.projection for each in expected], changes[-1].record.position))

    projector = world.tables([Recording(name) for name in "abc"])
    projector._store = Watched(Reconnecting(world.database_url, SCHEMA, "test"), [Recording(name) for name in "abc"])
    projector.catch_up()
    assert written == [(["c"], 5), (["a", "c"], 12), (["a", "b", "c"], 30)]
    for name in "abc":
        assert applied(world, name) == list(range(1, 31))


def test_a_history_that_is_not_the_one_of_the_checkpoint_is_not_built_upon(world: World) -> None:
    prepare(world, "one")
    tasks(world, 5)
    world.tables([Recording("one")]).catch_up()
    world.connection.execute("UPDATE events SET hash = '\\x00' WHERE notification_id = 5")
    tasks(world, 2, 10)
    with pytest.raises(Incomplete):
        world.tables([Recording("one")]).catch_up()
    assert applied(world, "one") == [1, 2, 3, 4, 5]


def test_a_log_that_lost_its_end_is_not_waited_for(world: World) -> None:
    prepare(world, "one")
    tasks(world, 5)
    world.tables([Recording("one")]).catch_up()
    world.connection.execute("DELETE FROM events WHERE notification_id > 3")
    with pytest.raises(Incomplete):
        world.tables([Recording("one")]).catch_up()


def test_a_projector_that_falls_silent_inside_a_batch_loses_it_to_the_next(world: World) -> None:
    """As one whose process is stopped: the server takes its locks back, and nothing is applied twice when it goes on."""
    prepare(world, "one", "two")
    tasks(world, AHEAD_FROM)
    silent, woken = threading.Event(), threading.Event()
    ended: list[Exception] = []

    def falls_silent(change: Change) -> None:
        if change.record.position == AHEAD_FROM:
            silent.set()
            woken.wait(120)

    def run() -> None:
        try:
            world.tables([Recording("one"), Recording("two", falls_silent)]).catch_up()
        except psycopg.OperationalError as error:
            ended.append(error)

    first = threading.Thread(target=run)
    first.start()
    assert silent.wait(60)
    try:
        waits_for_locks(world.tables([Recording("one"), Recording("two")]).catch_up)
        assert (world.position("one"), world.position("two")) == (AHEAD_FROM, AHEAD_FROM)
    finally:
        woken.set()
        first.join()
    everything = list(range(1, AHEAD_FROM + 1))
    assert (applied(world, "one"), applied(world, "two")) == (everything, everything)
    assert len(ended) == 1


def waits_for_locks(work: Callable[[], object]) -> None:
    """As the sweeps do, a few times: a server that takes locks back in two seconds has done so by then."""
    for _ in range(4):
        try:
            work()
        except LockNotAvailable:
            continue
        return
    pytest.fail("the locks of a silent client were never taken back")


def test_stopping_ends_after_the_batch(world: World) -> None:
    prepare(world, "one")
    tasks(world, 1200)
    projector = world.tables([Recording("one")])
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    assert projector.catch_up(stop) == 1000


def test_what_was_applied_is_announced_with_names_and_position(world: World) -> None:
    prepare(world, "a", "b")
    tasks(world, 3)
    projector = world.tables([Recording("a"), Recording("b")])
    heard: list[tuple[list[str], int]] = []
    projector._on_applied = lambda names, position: heard.append((list(names), position))
    projector.catch_up()
    assert heard == [(["a", "b"], 3)]
