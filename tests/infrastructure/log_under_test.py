"""The log as tests see it: appends in few words, and what the table holds afterwards."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from uuid_utils.compat import uuid7

from application.log import Append, Appended, Condition, IdempotencyKey, NewEvent
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.append_function import append_parameters, append_statement, read_outcomes, streams_again
from infrastructure.log.event_store import Memory, PostgresEventStore
from infrastructure.log.hash_chain import COLUMNS, ChainedRow
from infrastructure.log.library_recorder import LogRecorder
from infrastructure.log.stream_memory import StreamMemory
from infrastructure.servers.postgres import connect_sync, pool
from projections.tables.binary_arrays import int4_array

SCHEMA = "log_main"
WORKSPACE = UUID("0195a000-0000-7000-8000-000000000001")
ANA = UUID("0195a000-0000-7000-8000-0000000000aa")
BEN = UUID("0195a000-0000-7000-8000-0000000000bb")
ROWS = f"SELECT {COLUMNS} FROM events ORDER BY notification_id"


def created(stream: UUID, title: str = "Ship it") -> NewEvent:
    """The first event of a task."""
    return NewEvent(stream, 1, TaskCreated(title))


def renamed(stream: UUID, version: int, title: str = "Sail it") -> NewEvent:
    """A later event of a task."""
    return NewEvent(stream, version, TaskRenamed(title))


def key(name: str, request: str = "the request") -> IdempotencyKey:
    """A client's key for a request with this content."""
    return IdempotencyKey(name, sha256(request.encode()).digest())


def an_append(
    *events: NewEvent,
    idempotency: IdempotencyKey | None = None,
    command_id: UUID | None = None,
    principal_id: UUID = ANA,
    workspace_id: UUID = WORKSPACE,
    conditions: Sequence[Condition] = (),
    authority: int = 0,
) -> Append:
    """A request to append `events`, by default under a command id of its own."""
    command = command_id or uuid7()
    return Append(
        workspace_id=workspace_id,
        principal_id=principal_id,
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=events,
        receipt_start=f'{{"command":"{command}"',
        idempotency=idempotency,
        conditions=tuple(conditions),
        authority=authority,
    )


def append(
    connection: psycopg.Connection[Any],
    *appends: Append,
    schema: str = SCHEMA,
    follows: Sequence[int] = (),
    again: bool = False,
) -> list[Appended | Exception]:
    """Send all in one call of the function, in the transaction that the connection is in.

    Those with the numbers `follows`, from 1, follow the one before them; with `again` a stream may come again.
    """
    cursor = connection.cursor(binary=True)
    more = [*[int4_array(follows)] * bool(follows), *[streams_again(appends)] * again]
    statement = append_statement(schema, chains=bool(follows), again=again)
    cursor.execute(statement, (*append_parameters(appends), *more))
    row = cursor.fetchone()
    assert row is not None
    return read_outcomes(appends, row)


def appended(answer: Appended | Exception) -> Appended:
    """The answer, which must be a success."""
    assert isinstance(answer, Appended), repr(answer)
    return answer


def stored(connection: psycopg.Connection[Any]) -> list[ChainedRow]:
    """Every event in the table, in the order of positions."""
    cursor = connection.cursor(binary=True)
    return [ChainedRow(*row) for row in cursor.execute(ROWS.encode())]


def positions(connection: psycopg.Connection[Any]) -> list[int]:
    """The positions that are taken."""
    return [row.position for row in stored(connection)]


def versions(connection: psycopg.Connection[Any], stream: UUID) -> list[int]:
    """The stream's versions in the order of positions."""
    return [row.version for row in stored(connection) if row.stream_id == stream]


def streams(count: int) -> list[UUID]:
    """So many ids of streams that do not exist."""
    return [uuid4() for _ in range(count)]


@contextmanager
def log_connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to the log `main`."""
    with connect_sync(database_url, SCHEMA) as connection:
        yield connection


@asynccontextmanager
async def open_store(database_url: str, memory: StreamMemory | None = None) -> AsyncIterator[PostgresEventStore]:
    """A started event store with a small pool."""
    async with pool(database_url, SCHEMA, 4) as reads:
        store = PostgresEventStore(database_url, "main", reads, memory=Memory(memory or StreamMemory()))
        await store.start()
        try:
            yield store
        finally:
            await store.stop()


@contextmanager
def recorder_on(database_url: str, connections: int = 12) -> Iterator[LogRecorder]:
    """The library's recorder over the log `main`, with a pool of its own."""
    given = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    datastore = PostgresDatastore(
        given["dbname"], given["host"], given["port"], given["user"], "", schema=SCHEMA, pool_size=connections
    )
    with datastore:
        yield LogRecorder(datastore)
