"""Events that a projection cannot apply: set aside with what follows in their streams, and nothing else with them."""

import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.read_models.table_store import AHEAD_FROM
from projections.engine.changes import Change
from tests.log_world import World, number
from tests.projections.recording import Recording, Trouble, applied, checkpoint, poisoned, prepare, run_once, tasks, title_of


def test_poison_is_parked_after_three_failures_and_the_rest_goes_on(world: World) -> None:
    prepare(world, "one")
    tasks(world, 3)
    world.record(number(50), TaskCreated("poison"))
    world.record(number(50), TaskRenamed("later of the same stream"))
    tasks(world, 3, 10)
    projection = Recording("one", poisoned)
    world.tables([projection]).catch_up()
    assert applied(world, "one") == [1, 2, 3, 6, 7, 8]
    assert world.parked("one") == [4, 5]
    # Once in the batch, three times alone.
    assert projection.tried.count(4) == 4
    assert projection.tried.count(5) == 0
    errors = world.connection.execute("SELECT error FROM parked ORDER BY position").fetchall()
    assert errors[0][0].startswith("ValueError, in poisoned, line ")
    assert "poison'" not in errors[0][0]
    assert "an earlier event of this stream is parked" in errors[1][0]


def test_events_of_a_parked_stream_are_parked_also_by_a_later_process(world: World) -> None:
    prepare(world, "one")
    world.record(number(50), TaskCreated("poison"))
    world.tables([Recording("one", poisoned)]).catch_up()
    world.record(number(50), TaskRenamed("fine again"))
    tasks(world, 2)
    world.tables([Recording("one", poisoned)]).catch_up()
    assert world.parked("one") == [1, 2]
    assert applied(world, "one") == [3, 4]


def test_poison_does_not_hold_up_other_projections_of_the_same_projector(world: World) -> None:
    prepare(world, "bad", "good")
    tasks(world, 3)
    world.record(number(50), TaskCreated("poison"))
    tasks(world, 3, 10)
    bad = Recording("bad", poisoned)
    projector = world.tables([bad, Recording("good")])
    while world.position("good") < 7:
        projector.advance(100)
    # Only the batch has failed so far: the good one did not wait for the three failures.
    assert bad.tried.count(4) == 1
    projector.catch_up()
    assert applied(world, "good") == list(range(1, 8))
    assert applied(world, "bad") == [1, 2, 3, 5, 6, 7]
    assert (world.parked("bad"), world.parked("good")) == ([4], [])


@pytest.mark.parametrize("bad", ["a bad one", "z bad one"])
def test_what_the_server_refuses_of_a_batch_is_held_against_the_projection_whose_statement_it_was(
    world: World, bad: str
) -> None:
    """Whoever comes first or last: what is refused may show while others are at work already, or at the end of all."""
    prepare(world, "good", bad)
    world.connection.execute(f"ALTER TABLE applications ADD CHECK (projection <> '{bad}' OR position <> 3)")
    tasks(world, AHEAD_FROM)
    projector = world.tables([Recording("good"), Recording(bad)])
    projector.advance(100)
    suspects = world.connection.execute("SELECT projection FROM checkpoints WHERE single_until > 0").fetchall()
    assert suspects == [(bad,)]
    projector.catch_up()
    everything = list(range(1, AHEAD_FROM + 1))
    assert (applied(world, "good"), applied(world, bad)) == (everything, [n for n in everything if n != 3])
    assert (world.parked("good"), world.parked(bad)) == ([], [3])


def test_a_process_that_was_killed_three_times_by_an_event_parks_it(world: World) -> None:
    """Killed is: it counted the attempt, and nothing came after."""
    prepare(world, "one")
    tasks(world, 1, 1, "poison")
    tasks(world, 3, 2)

    def killed(_change: Change) -> None:
        raise KeyboardInterrupt

    for attempt in range(1, 4):
        with pytest.raises(KeyboardInterrupt):
            world.tables([Recording("one", killed)]).catch_up()
        assert checkpoint(world, "one").attempts == attempt
    projection = Recording("one")
    world.tables([projection]).catch_up()
    assert world.parked("one") == [1]
    assert applied(world, "one") == [2, 3, 4]
    assert 1 not in projection.tried


def test_processes_that_really_die_of_an_event_park_it(world: World) -> None:
    prepare(world, "one")
    tasks(world, 3)
    world.record(number(50), TaskCreated("poison"))
    tasks(world, 3, 10)
    context = multiprocessing.get_context("spawn")
    codes = []
    while world.position("one") < 7:
        process = context.Process(target=run_once, args=(world.database_url, "one"))
        process.start()
        process.join(60)
        codes.append(process.exitcode)
        assert len(codes) < 8
    # Once with its whole batch, three times alone; the fifth process parks it and goes on.
    assert codes == [7, 7, 7, 7, 0]
    assert world.parked("one") == [4]
    assert applied(world, "one") == [1, 2, 3, 5, 6, 7]


def test_an_innocent_event_beside_a_killing_one_is_not_parked(world: World) -> None:
    prepare(world, "one")
    tasks(world, 2)
    tasks(world, 1, 3, "poison")

    def killed(change: Change) -> None:
        if title_of(change) == "poison":
            raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            world.tables([Recording("one", killed)]).catch_up()
    world.tables([Recording("one", killed)]).catch_up()
    assert (applied(world, "one"), world.parked("one")) == ([1, 2], [3])


def test_the_tries_of_a_second_owner_are_not_counted(world: World) -> None:
    prepare(world, "one")
    tasks(world, 2)

    def killed(_change: Change) -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        second = world.tables([Recording("one", killed)])
        second.is_owner = False
        with pytest.raises(KeyboardInterrupt):
            second.catch_up()
    assert checkpoint(world, "one").attempts == 0


def test_a_death_at_one_projection_is_not_counted_against_those_that_wait_for_their_turn(world: World) -> None:
    prepare(world, "one", "two")
    tasks(world, 2)

    def killed(_change: Change) -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            world.tables([Recording("one", killed), Recording("two")]).catch_up()
    # Both shared the first batch; from then on each goes alone.
    assert (checkpoint(world, "one").attempts, checkpoint(world, "two").attempts) == (3, 1)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection lost"),
        psycopg.errors.DeadlockDetected("x"),
        psycopg.errors.AdminShutdown("x"),
        psycopg.errors.DiskFull("x"),
        psycopg.errors.ReadOnlySqlTransaction("x"),
        psycopg.InterfaceError("the connection is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_of_the_server_never_parks_an_event(world: World, error: Exception) -> None:
    prepare(world, "one")
    tasks(world, 5)
    away = True

    def trouble(_change: Change) -> None:
        if away:
            raise error

    projector = world.tables([Recording("one", trouble)])
    for _ in range(6):
        with pytest.raises(type(error)):
            projector.advance()
        projector.forget()
    # Also for processes that start again and again meanwhile.
    for _ in range(4):
        with pytest.raises(type(error)):
            world.tables([Recording("one", trouble)]).advance()
    assert checkpoint(world, "one").attempts == 0
    away = False
    projector.catch_up()
    assert (applied(world, "one"), world.parked("one")) == ([1, 2, 3, 4, 5], [])


def test_a_value_beyond_a_limit_of_the_server_is_parked(world: World) -> None:
    """Its class of error is called operational, and it will come back for ever."""
    prepare(world, "one")
    tasks(world, 2)

    def trouble(change: Change) -> None:
        if change.record.position == 1:
            raise psycopg.errors.ProgramLimitExceeded("string is too long for tsvector")

    world.tables([Recording("one", trouble)]).catch_up()
    assert (applied(world, "one"), world.parked("one")) == ([2], [1])


def failing_some(positions: set[int]) -> Trouble:
    def trouble(change: Change) -> None:
        if change.record.position in positions:
            raise ValueError("one of a hundred")

    return trouble


def test_one_percent_of_poison_parks_exactly_that(world: World) -> None:
    prepare(world, "one")
    tasks(world, 300)
    bad = {7, 100, 101, 299}
    started = time.monotonic()
    world.tables([Recording("one", failing_some(bad))]).catch_up()
    assert applied(world, "one") == [n for n in range(1, 301) if n not in bad]
    assert world.parked("one") == sorted(bad)
    assert time.monotonic() - started < 60


def test_what_is_stored_of_a_failure_holds_no_value_of_the_row(world: World) -> None:
    """PostgreSQL's messages quote the row that was refused, and the text in it."""
    prepare(world, "one")
    world.connection.execute("ALTER TABLE applications ADD title text CONSTRAINT short CHECK (length(title) < 5)")
    world.record(number(50), TaskCreated("Secret words"))

    class Refused(Recording):
        def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
            for change in changes:
                connection.execute(
                    "INSERT INTO applications VALUES (%s, %s, %s)", (self.name, change.record.position, title_of(change))
                )

    world.tables([Refused("one")]).catch_up()
    (error,) = world.connection.execute("SELECT error FROM parked").fetchone() or ("",)
    assert "Secret" not in error
    assert error.startswith("CheckViolation, SQLSTATE 23514, table applications, constraint short, in ")
