"""The order of positions is the order of commits, however many append and follow at once."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.faults.log_order import Reader, Run, append_some, remove_lock
from tests.infrastructure.log_under_test import log_connection, positions

Connection = psycopg.Connection[Any]


@pytest.fixture
def first(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


@pytest.fixture
def second(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


@pytest.fixture
def reader(database_url: str) -> Iterator[Reader]:
    opened = Reader(database_url)
    yield opened
    opened.close()


def until_waiting(log: Connection, backend: int) -> None:
    """Wait until that session waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    while not log.execute(query, (backend,)).fetchone():
        pass


def test_a_later_append_waits_for_the_commit_of_an_earlier_one(first: Connection, second: Connection, reader: Reader) -> None:
    later = threading.Thread(target=append_some, args=(second, 2))
    with first.transaction():
        append_some(first, 3)
        later.start()
        until_waiting(first, second.info.backend_pid)
        assert reader.read() == 0
    later.join()
    while len(reader.seen) < 5:
        reader.read()
    assert reader.seen == [1, 2, 3, 4, 5]


def test_a_later_append_takes_the_positions_of_an_aborted_one(first: Connection, second: Connection, reader: Reader) -> None:
    later = threading.Thread(target=append_some, args=(second, 2))
    with first.transaction(force_rollback=True):
        append_some(first, 3)
        later.start()
        until_waiting(first, second.info.backend_pid)
    later.join()
    reader.read()
    assert reader.seen == [1, 2]


def test_without_the_lock_a_reader_passes_over_an_open_transaction(
    first: Connection, second: Connection, reader: Reader
) -> None:
    """The control: what the two tests above would find."""
    remove_lock(first)
    with first.transaction():
        append_some(first, 3)
        append_some(second, 2)
        reader.read()
    reader.read()
    assert reader.seen == [4, 5]
    assert positions(first) == [1, 2, 3, 4, 5]


def test_no_reader_skips_or_repeats_an_event_under_concurrent_appends(database_url: str) -> None:
    counts = Run(database_url, events=20_000, seed=1).counts()
    assert counts.aborted > 0
    assert (counts.appended, counts.skipped, counts.twice, counts.holes) == (20_000, 0, 0, 0)


def test_without_the_lock_readers_skip_events_under_concurrent_appends(database_url: str, first: Connection) -> None:
    """The control: the run above does find what is skipped."""
    remove_lock(first)
    counts = Run(database_url, events=5_000, seed=1).counts()
    assert counts.appended == 5_000
    assert counts.skipped > 0
    assert counts.holes > 0
