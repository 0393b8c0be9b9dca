"""The SQL function `append_events`: keys, receipts, and appends that are sent twice."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.errors import UniqueViolation

from application.log import Appended, IdempotencyMismatch, VersionConflict
from tests.infrastructure.log_under_test import (
    BEN,
    an_append,
    append,
    appended,
    created,
    key,
    log_connection,
    renamed,
    stored,
    streams,
)

Connection = psycopg.Connection[Any]


@pytest.fixture
def log(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


def keys_kept(log: Connection) -> int:
    row = log.execute("SELECT count(*) FROM idempotency").fetchone()
    assert row is not None
    return int(row[0])


class TestKeys:
    def test_the_receipt_is_completed_with_the_position(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first)))
        asked = an_append(created(second), renamed(second, 2), idempotency=key("k"))
        answer = appended(append(log, asked)[0])
        assert answer.receipt == f'{asked.receipt_start},"hash":"{stored(log)[-1].hash.hex()}","position":3}}'.encode()
        assert answer.hash == stored(log)[-1].hash

    def test_the_same_key_and_request_bring_back_the_receipt_and_write_nothing(self, log: Connection) -> None:
        first, second, third = streams(3)
        original = appended(append(log, an_append(created(first), idempotency=key("k")))[0])
        append(log, an_append(created(second)))
        again = appended(append(log, an_append(created(third), idempotency=key("k")))[0])
        assert (again.receipt, again.position, again.replayed) == (original.receipt, 1, True)
        assert [row.stream_id for row in stored(log)] == [first, second]

    def test_the_same_key_with_another_request_is_a_mismatch(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first), idempotency=key("k")))
        (answer,) = append(log, an_append(created(second), idempotency=key("k", "another request")))
        assert isinstance(answer, IdempotencyMismatch)
        assert [row.stream_id for row in stored(log)] == [first]

    def test_a_key_belongs_to_its_principal_and_workspace(self, log: Connection) -> None:
        first, second, third, workspace = streams(4)
        answers = [
            append(log, an_append(created(first), idempotency=key("k")))[0],
            append(log, an_append(created(second), idempotency=key("k"), principal_id=BEN))[0],
            append(log, an_append(created(third), idempotency=key("k"), workspace_id=workspace))[0],
        ]
        assert [appended(answer).replayed for answer in answers] == [False, False, False]

    def test_a_keyed_append_without_events_remembers_its_receipt(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first)))
        original = appended(append(log, an_append(idempotency=key("k")))[0])
        append(log, an_append(created(second)))
        again = appended(append(log, an_append(idempotency=key("k")))[0])
        assert (original.position, original.replayed) == (1, False)
        assert (again.receipt, again.position, again.replayed) == (original.receipt, 1, True)

    def test_what_is_kept_with_a_key_is_byte_for_byte_what_was_answered(self, log: Connection) -> None:
        one, two, three, scope = streams(4)
        numbered = msgspec.structs.replace(created(one), scope=scope)
        asked = [
            an_append(numbered, renamed(one, 2), idempotency=key("a number before the last event")),
            an_append(created(two), idempotency=key("no number")),
            an_append(idempotency=key("no event")),
            msgspec.structs.replace(
                an_append(created(three), idempotency=key("ä")), receipt_start='{"problem":{"título":"\\u0000 💥"}'
            ),
        ]
        answered = [appended(answer).receipt for answer in append(log, *asked)]
        again = [appended(answer) for answer in append(log, *asked)]
        assert [answer.receipt for answer in again] == answered
        assert all(answer.replayed for answer in again)
        assert answered[0].startswith(f'{asked[0].receipt_start},"number":1,"hash":"'.encode())

    def test_a_conflict_does_not_use_up_its_key(self, log: Connection) -> None:
        (task,) = streams(1)
        append(log, an_append(created(task)))
        (conflict,) = append(log, an_append(created(task), idempotency=key("k")))
        assert isinstance(conflict, VersionConflict)
        assert not appended(append(log, an_append(renamed(task, 2), idempotency=key("k")))[0]).replayed

    def test_every_outcome_in_one_call_gets_its_own_answer(self, log: Connection) -> None:
        first, second, third, fourth = streams(4)
        old = appended(append(log, an_append(created(first), idempotency=key("old")))[0])
        answers = append(
            log,
            an_append(created(second), idempotency=key("new")),
            an_append(created(third), idempotency=key("old")),
            an_append(created(fourth)),
            an_append(created(first), idempotency=key("clash")),
            an_append(created(third), renamed(third, 2), idempotency=key("newer")),
        )
        new, replayed, unkeyed, conflict, newer = answers
        assert (appended(new).position, appended(unkeyed).position, appended(newer).position) == (2, 3, 5)
        assert (appended(replayed).receipt, appended(replayed).replayed) == (old.receipt, True)
        assert isinstance(conflict, VersionConflict)
        assert [appended(a).receipt.rpartition(b":")[2] for a in (new, unkeyed, newer)] == [
            b"2}",
            b"3}",
            b"5}",
        ]
        assert keys_kept(log) == 3

    def test_one_key_twice_in_a_call_refuses_the_whole_call(self, log: Connection) -> None:
        first, second = streams(2)
        with pytest.raises(UniqueViolation):
            append(
                log,
                an_append(created(first), idempotency=key("k")),
                an_append(created(second), idempotency=key("k")),
            )
        assert (stored(log), keys_kept(log)) == ([], 0)

    def test_an_aborted_transaction_leaves_no_key(self, log: Connection) -> None:
        with log.transaction(force_rollback=True):
            append(log, an_append(created(streams(1)[0]), idempotency=key("k")))
        assert keys_kept(log) == 0

    def test_one_key_from_many_connections_at_once_writes_once(self, log: Connection, database_url: str) -> None:
        answers: list[Appended | Exception] = []
        start = threading.Barrier(6)

        def send() -> None:
            with log_connection(database_url) as connection:
                start.wait()
                answers.extend(append(connection, an_append(created(streams(1)[0]), idempotency=key("k"))))

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(appended(answer).replayed for answer in answers) == [
            False,
            True,
            True,
            True,
            True,
            True,
        ]
        assert len({appended(answer).receipt for answer in answers}) == 1
        assert len(stored(log)) == 1


class TestResent:
    def test_an_append_sent_again_is_answered_with_its_original_position(self, log: Connection) -> None:
        first, second = streams(2)
        asked = an_append(created(first), renamed(first, 2))
        original = appended(append(log, asked)[0])
        append(log, an_append(created(second)), an_append(renamed(first, 3)))
        again = appended(append(log, asked)[0])
        assert (again.position, again.receipt, again.replayed) == (2, original.receipt, True)
        assert len(stored(log)) == 4

    def test_over_several_streams_it_is_recognised_as_well(self, log: Connection) -> None:
        first, second = streams(2)
        asked = an_append(created(first), created(second))
        append(log, asked)
        again = appended(append(log, asked)[0])
        assert (again.position, again.replayed) == (2, True)

    def test_among_others_in_one_call_it_is_recognised_and_they_are_stored(self, log: Connection) -> None:
        first, second, third = streams(3)
        asked = an_append(created(first))
        append(log, asked)
        answers = [appended(a) for a in append(log, an_append(created(second)), asked, an_append(created(third)))]
        assert [(a.position, a.replayed) for a in answers] == [(2, False), (1, True), (3, False)]

    def test_the_same_events_under_another_command_id_are_a_conflict(self, log: Connection) -> None:
        (task,) = streams(1)
        append(log, an_append(created(task)))
        assert isinstance(append(log, an_append(created(task)))[0], VersionConflict)

    def test_a_command_that_goes_on_with_its_stream_is_no_replay(self, log: Connection) -> None:
        (task,) = streams(1)
        asked = an_append(created(task))
        append(log, asked)
        onwards = an_append(renamed(task, 2), command_id=asked.command_id)
        assert not appended(append(log, onwards)[0]).replayed
