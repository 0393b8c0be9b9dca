"""The SQL function `append_events`: versions, positions, atomicity, durability."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from application.log import NewEvent, VersionConflict
from domain.task.events import TaskStarted
from infrastructure.log.append_function import append_parameters, append_statement
from infrastructure.servers.migrate import migrate
from infrastructure.servers.postgres import connect_sync
from projections.tables.binary_arrays import int4_array
from tests.infrastructure.log_under_test import (
    SCHEMA,
    an_append,
    append,
    appended,
    created,
    log_connection,
    positions,
    renamed,
    stored,
    streams,
    versions,
)

Connection = psycopg.Connection[Any]


@pytest.fixture
def log(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


class TestVersions:
    def test_a_stream_starts_and_goes_on(self, log: Connection) -> None:
        (task,) = streams(1)
        append(log, an_append(created(task)))
        append(log, an_append(renamed(task, 2)))
        assert versions(log, task) == [1, 2]

    @pytest.mark.parametrize("version", [0, 2, 4, -1])
    def test_an_append_that_is_not_at_the_next_version_is_a_conflict(self, log: Connection, version: int) -> None:
        (task,) = streams(1)
        append(log, an_append(created(task), renamed(task, 2)))
        (answer,) = append(log, an_append(renamed(task, version)))
        assert isinstance(answer, VersionConflict)
        assert versions(log, task) == [1, 2]

    @pytest.mark.parametrize("version", [0, 1])
    def test_a_stream_may_start_at_zero_or_one(self, log: Connection, version: int) -> None:
        (task,) = streams(1)
        appended(append(log, an_append(renamed(task, version), renamed(task, version + 1)))[0])
        assert versions(log, task) == [version, version + 1]

    @pytest.mark.parametrize("version", [2, -1, -7])
    def test_a_stream_starts_nowhere_else(self, log: Connection, version: int) -> None:
        (task,) = streams(1)
        assert isinstance(append(log, an_append(renamed(task, version)))[0], VersionConflict)
        assert stored(log) == []

    def test_conflicts_leave_the_other_appends_of_the_call_alone(self, log: Connection) -> None:
        first, taken, second, gap, third = streams(5)
        append(log, an_append(created(taken)))
        answers = append(
            log,
            an_append(created(first), renamed(first, 2)),
            an_append(created(taken)),
            an_append(created(second)),
            an_append(created(gap), renamed(gap, 3)),
            an_append(created(third)),
        )
        assert [isinstance(answer, VersionConflict) for answer in answers] == [
            False,
            True,
            False,
            True,
            False,
        ]
        assert [row.stream_id for row in stored(log)] == [taken, first, first, second, third]

    def test_one_stream_twice_in_a_call_refuses_the_whole_call(self, log: Connection) -> None:
        task, other = streams(2)
        with pytest.raises(UniqueViolation):
            append(log, an_append(created(other)), an_append(created(task)), an_append(created(task)))
        assert stored(log) == []

    def test_one_version_twice_in_an_append_is_a_conflict(self, log: Connection) -> None:
        (task,) = streams(1)
        assert isinstance(append(log, an_append(created(task), created(task)))[0], VersionConflict)


class TestStreamsThatComeAgain:
    """In a call that says so, as an import's do: its appends are in the order in which things happened."""

    def test_a_stream_goes_on_where_the_call_left_it(self, log: Connection) -> None:
        old, new = streams(2)
        append(log, an_append(created(old)))
        answers = append(
            log,
            an_append(created(new), renamed(new, 2)),
            an_append(renamed(old, 2)),
            an_append(renamed(new, 3)),
            an_append(renamed(old, 3), renamed(new, 4)),
            again=True,
        )
        assert [appended(answer).position for answer in answers] == [3, 4, 5, 7]
        assert [(row.stream_id, row.version) for row in stored(log)[1:]] == [
            *[(new, 1), (new, 2), (old, 2), (new, 3), (old, 3), (new, 4)]
        ]

    @pytest.mark.parametrize("version", [1, 2, 4])
    def test_and_at_no_other_version(self, log: Connection, version: int) -> None:
        (task,) = streams(1)
        answers = append(log, an_append(created(task), renamed(task, 2)), an_append(renamed(task, version)), again=True)
        assert isinstance(answers[1], VersionConflict)
        assert versions(log, task) == [1, 2]

    def test_where_anything_before_it_is_refused_it_is_refused_as_well(self, log: Connection) -> None:
        task, taken, other = streams(3)
        append(log, an_append(created(taken)))
        answers = append(
            log,
            an_append(created(task)),
            an_append(created(taken)),
            an_append(renamed(task, 2)),
            an_append(created(other)),
            again=True,
        )
        assert [isinstance(answer, VersionConflict) for answer in answers] == [False, True, True, False]
        assert [row.stream_id for row in stored(log)] == [taken, task, other]

    def test_an_event_of_another_stream_is_no_place_to_go_on_from(self, log: Connection) -> None:
        task, other = streams(2)
        appends = [an_append(created(task), renamed(task, 2)), an_append(renamed(other, 3))]
        statement = append_statement(SCHEMA, again=True)
        cursor = log.cursor(binary=True)
        cursor.execute(statement, (*append_parameters(appends), int4_array([0, 0, 2])))
        assert (cursor.fetchone() or ())[0] == [0, 1]
        assert versions(log, other) == []


class TestAtomicity:
    def test_of_several_events_all_or_none_are_stored(self, log: Connection) -> None:
        (task,) = streams(1)
        append(log, an_append(created(task)))
        (answer,) = append(log, an_append(renamed(task, 2), renamed(task, 3), renamed(task, 5)))
        assert isinstance(answer, VersionConflict)
        assert versions(log, task) == [1]

    def test_of_several_streams_all_or_none_are_stored(self, log: Connection) -> None:
        task, taken, last = streams(3)
        append(log, an_append(created(taken)))
        (answer,) = append(log, an_append(created(task), created(taken), created(last)))
        assert isinstance(answer, VersionConflict)
        assert [row.stream_id for row in stored(log)] == [taken]

    def test_several_streams_are_stored_together(self, log: Connection) -> None:
        first, second = streams(2)
        answer = appended(append(log, an_append(created(first), renamed(first, 2), created(second)))[0])
        assert answer.position == 3
        assert [(row.stream_id, row.version) for row in stored(log)] == [(first, 1), (first, 2), (second, 1)]

    def test_an_aborted_transaction_leaves_nothing_and_its_positions_are_given_again(self, log: Connection) -> None:
        gone, kept = streams(2)
        with log.transaction(force_rollback=True):
            assert appended(append(log, an_append(created(gone)))[0]).position == 1
        assert appended(append(log, an_append(created(kept)))[0]).position == 1
        assert [row.stream_id for row in stored(log)] == [kept]

    def test_an_event_that_the_table_refuses_takes_the_whole_call_with_it(self, log: Connection) -> None:
        log.execute("ALTER TABLE events ADD CHECK (topic <> 'task.started')")
        task, other = streams(2)
        with pytest.raises(psycopg.errors.CheckViolation):
            append(log, an_append(created(other)), an_append(NewEvent(task, 1, TaskStarted())))
        assert stored(log) == []


class TestPositions:
    def test_positions_are_one_to_n_in_the_order_of_the_appends(self, log: Connection) -> None:
        tasks = streams(6)
        for several in (tasks[:1], tasks[1:4], tasks[4:]):
            append(log, *(an_append(created(task), renamed(task, 2)) for task in several))
        assert positions(log) == list(range(1, 13))
        assert [row.stream_id for row in stored(log)] == [task for task in tasks for _ in range(2)]

    def test_conflicts_leave_no_gap(self, log: Connection) -> None:
        first, second, third = streams(3)
        append(log, an_append(created(first)))
        answers = append(
            log,
            an_append(created(second), renamed(second, 9)),
            an_append(created(third), renamed(third, 2)),
            an_append(created(first)),
            an_append(created(second)),
        )
        assert [a.position for a in answers if not isinstance(a, Exception)] == [3, 4]
        assert positions(log) == [1, 2, 3, 4]

    def test_an_answer_names_the_position_of_its_last_event(self, log: Connection) -> None:
        first, second = streams(2)
        answers = append(log, an_append(created(first), renamed(first, 2)), an_append(created(second)))
        assert [appended(answer).position for answer in answers] == [2, 3]

    def test_a_call_without_appends_writes_nothing(self, log: Connection) -> None:
        assert append(log) == []
        assert stored(log) == []

    def test_two_logs_in_one_database_count_for_themselves(self, log: Connection, database_url: str) -> None:
        migrate(database_url, ["other"])
        append(log, an_append(created(streams(1)[0])))
        with connect_sync(database_url, "log_other") as other:
            (answer,) = append(other, an_append(created(streams(1)[0])), schema="log_other")
            assert appended(answer).position == 1
            assert positions(other) == [1]

    def test_an_open_append_does_not_hold_up_another_log(self, log: Connection, database_url: str) -> None:
        migrate(database_url, ["other"])
        with connect_sync(database_url, "log_other") as other, log.transaction():
            append(log, an_append(created(streams(1)[0])))
            other.execute("SET lock_timeout = '1s'")
            appended(append(other, an_append(created(streams(1)[0])), schema="log_other")[0])


class TestTime:
    def test_recorded_at_never_goes_backwards(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first)))
        log.execute("UPDATE events SET recorded_at = recorded_at + interval '1 day'")
        ahead = stored(log)[0].recorded_at
        assert appended(append(log, an_append(created(second)))[0]).recorded_at == ahead
        assert [row.recorded_at for row in stored(log)] == [ahead, ahead]

    def test_recorded_at_is_the_servers_clock_at_the_append(self, log: Connection) -> None:
        first, second = streams(2)
        with log.transaction():
            started = log.execute("SELECT now()").fetchone()
            early = appended(append(log, an_append(created(first)))[0]).recorded_at
            late = appended(append(log, an_append(created(second)))[0]).recorded_at
        assert started is not None
        assert started[0] < early < late < started[0] + timedelta(hours=1)


class TestDurability:
    def test_the_commit_is_synchronous_whatever_the_session_says(self, log: Connection) -> None:
        log.execute("SET synchronous_commit = off")
        with log.transaction():
            append(log, an_append(created(streams(1)[0])))
            inside = log.execute("SHOW synchronous_commit").fetchone()
        assert inside == ("on",)
        assert log.execute("SHOW synchronous_commit").fetchone() == ("off",)

    def test_the_commit_of_a_bare_call_is_synchronous(self, log: Connection) -> None:
        log.execute("CREATE TABLE seen (setting text)")
        log.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$"
        )
        # Deferred, so that it runs where the commit begins and the function has long returned.
        log.execute(
            "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION note()"
        )
        log.execute("SET synchronous_commit = off")
        append(log, an_append(created(streams(1)[0])))
        assert log.execute("SELECT setting FROM seen").fetchall() == [("on",)]
