"""Concurrent appends against readers that follow the log by position: none may be skipped, none seen twice.

Each writer appends in explicit transactions that it sometimes holds open after the append and sometimes
aborts, as a slow network or a crash would. Readers ask again and again for what comes after the last position
they saw.

    python -m tests.faults.log_order --events 200000 --seed 1
    python -m tests.faults.log_order --events 20000 --without-lock     (the control: it must skip events)
"""

import argparse
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg

from application.log import Append, NewEvent
from domain.task.events import TaskCreated
from infrastructure.embedded.services import LocalServices
from infrastructure.log.append_function import append_parameters, append_statement
from infrastructure.servers.migrate import migrate
from infrastructure.servers.postgres import connect_sync
from infrastructure.settings import load_settings

SCHEMA = "log_main"
WRITERS = 8
READERS = 3
READ_BATCH = 500
ABORTED = 0.05
HELD_OPEN = 0.1
HELD_OPEN_SECONDS = 0.004
NOBODY = UUID(int=0)

Connection = psycopg.Connection[Any]


class Counts(msgspec.Struct, frozen=True):
    """What a run found. `skipped` and `twice` add up over all readers; `holes` are vacant positions."""

    appended: int
    aborted: int
    skipped: int
    twice: int
    holes: int


def append_some(connection: Connection, count: int) -> UUID:
    """Append a new stream of so many events in the transaction that `connection` is in; returns its id."""
    stream, command = uuid4(), uuid4()
    append = Append(
        workspace_id=NOBODY,
        principal_id=NOBODY,
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=tuple(NewEvent(stream, version, TaskCreated("Ship it")) for version in range(1, count + 1)),
        receipt_start="{",
    )
    connection.cursor(binary=True).execute(append_statement(SCHEMA), append_parameters([append]), prepare=True)
    return stream


def remove_lock(connection: Connection) -> None:
    """Make the function lock nothing and take positions from a sequence, as many event stores have done."""
    row = connection.execute("SELECT pg_get_functiondef('append_events'::regproc)").fetchone()
    assert row is not None
    source: str = row[0]
    for before, after in (
        ("pg_advisory_xact_lock(hashtextextended('taskmaster ' || current_schema(), 0))", "NULL"),
        ("start + n.ord, recorded", "nextval('positions'), recorded"),
    ):
        assert source.count(before) == 1
        source = source.replace(before, after)
    connection.execute("CREATE SEQUENCE positions")
    connection.execute(source.encode())


class Reader:
    """Follows the log by position, over a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._connection = connect_sync(database_url, SCHEMA)
        self.seen: list[int] = []

    def read(self) -> int:
        """Take the next batch; returns how many events it had."""
        rows = self._connection.execute(
            "SELECT notification_id FROM events WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
            (self.seen[-1] if self.seen else 0, READ_BATCH),
            prepare=True,
        ).fetchall()
        self.seen.extend(row[0] for row in rows)
        return len(rows)

    def follow(self, finished: threading.Event) -> None:
        """Read until there is nothing more after `finished`."""
        while True:
            last_round = finished.is_set()
            if not self.read() and last_round:
                return

    def close(self) -> None:
        self._connection.close()


class Run:
    """One run: `counts()` drives it to its end."""

    def __init__(self, database_url: str, events: int, seed: int) -> None:
        self._database_url = database_url
        self._seed = seed
        self._left = events
        self._aborted = 0
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def counts(self) -> Counts:
        """Write and read to the end, and compare what readers saw with what the table holds."""
        finished = threading.Event()
        readers = [Reader(self._database_url) for _ in range(READERS)]
        following = [self._thread(reader.follow, finished) for reader in readers]
        writing = [self._thread(self._write, random.Random(f"{self._seed} {n}")) for n in range(WRITERS)]
        for thread in writing:
            thread.join()
        finished.set()
        for thread in following:
            thread.join()
        for reader in readers:
            reader.close()
        if self._errors:
            raise self._errors[0]
        return self._compared(readers)

    def _compared(self, readers: list[Reader]) -> Counts:
        with connect_sync(self._database_url, SCHEMA) as connection:
            stored = {row[0] for row in connection.execute("SELECT notification_id FROM events")}
        skipped = sum(len(stored - set(reader.seen)) for reader in readers)
        twice = sum(n - 1 for reader in readers for n in Counter(reader.seen).values())
        return Counts(len(stored), self._aborted, skipped, twice, max(stored, default=0) - len(stored))

    def _thread(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self._errors.append(error)
                raise

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def _write(self, chance: random.Random) -> None:
        with connect_sync(self._database_url, SCHEMA) as connection:
            while count := self._take(chance.randint(1, 40)):
                kept = chance.random() >= ABORTED
                with connection.transaction(force_rollback=not kept):
                    append_some(connection, count)
                    if chance.random() < HELD_OPEN:
                        pause = chance.random() * HELD_OPEN_SECONDS
                        connection.execute("SELECT pg_sleep(%s)", (pause,), prepare=True)
                if not kept:
                    self._give_back(count)

    def _take(self, count: int) -> int:
        with self._lock:
            count = min(count, self._left)
            self._left -= count
            return count

    def _give_back(self, count: int) -> None:
        with self._lock:
            self._left += count
            self._aborted += 1


@contextmanager
def reachable_database(url: str) -> Iterator[str]:
    """The database given, or that of embedded servers in a folder that goes with them."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="taskmaster-") as folder:
        Path(folder).chmod(0o711)
        with LocalServices(load_settings({"TASKMASTER_DATA_DIR": f"{folder}/data"})) as services:
            yield services.database_url


def main() -> int:
    """Run it on embedded servers in a folder of its own; 1 where an event was skipped or seen twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--without-lock", action="store_true", help="the control: must skip events")
    parser.add_argument("--database", default="", help="a database without a log; embedded servers otherwise")
    given = parser.parse_args()
    with reachable_database(given.database) as database_url:
        migrate(database_url, ["main"])
        if given.without_lock:
            with connect_sync(database_url, SCHEMA) as connection:
                remove_lock(connection)
        counts = Run(database_url, given.events, given.seed).counts()
    print(f"seed {given.seed}, {WRITERS} writers, {READERS} readers: {msgspec.json.encode(counts).decode()}")
    return int(bool(counts.skipped or counts.twice))


if __name__ == "__main__":
    sys.exit(main())
