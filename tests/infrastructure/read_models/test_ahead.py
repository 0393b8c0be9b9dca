"""Statements that a thread carries out: in order, each with its answer, and none once the batch has failed."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from infrastructure.read_models.ahead import TURN_SECONDS, Ahead, short_turns
from tests.log_world import World


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


@pytest.fixture
def connection(world: World) -> psycopg.Connection:
    world.connection.execute("CREATE TABLE said (word text NOT NULL)")
    return world.connection


def said(connection: psycopg.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT word FROM said").fetchall()]


def test_statements_are_carried_out_in_order_and_answers_are_there_for_who_looks(
    connection: psycopg.Connection, thread: ThreadPoolExecutor
) -> None:
    with connection.transaction(), Ahead(connection, thread) as ahead:
        ahead.execute("INSERT INTO said VALUES ('one')")
        asked = ahead.execute("SELECT word FROM said")
        ahead.execute("INSERT INTO said VALUES (%s)", ("two",))
        assert asked.fetchall() == [("one",)]
        assert [word for (word,) in ahead.execute("SELECT word FROM said")] == ["one", "two"]
        assert ahead.info.transaction_status.name == "INTRANS"
    assert said(connection) == ["one", "two"]


def test_what_waits_when_the_batch_fails_does_not_outlive_its_transaction(
    connection: psycopg.Connection, thread: ThreadPoolExecutor
) -> None:
    """Behind the end of the transaction it would be one of its own."""

    def fail() -> None:
        with connection.transaction(), Ahead(connection, thread) as ahead:
            ahead.execute("SELECT pg_sleep(0.3)")
            for _ in range(5):
                ahead.execute("INSERT INTO said VALUES ('too late')")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    thread.submit(lambda: None).result()
    assert said(connection) == []


def test_after_the_first_statement_that_is_refused_all_fail_as_it_did(
    connection: psycopg.Connection, thread: ThreadPoolExecutor
) -> None:
    with connection.transaction(force_rollback=True), Ahead(connection, thread) as ahead:
        ahead.whose = "the first"
        ahead.execute("INSERT INTO said VALUES (NULL)")
        ahead.whose = "the second"
        answer = ahead.execute("SELECT 1")
        with pytest.raises(psycopg.errors.NotNullViolation):
            answer.fetchall()
    assert ahead.refused is not None
    assert ahead.refused.whose == "the first"
    assert isinstance(ahead.refused.error, psycopg.errors.NotNullViolation)


def test_threads_take_short_turns_meanwhile_and_their_own_again_afterwards() -> None:
    before = sys.getswitchinterval()
    with short_turns():
        assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
    assert sys.getswitchinterval() == before
