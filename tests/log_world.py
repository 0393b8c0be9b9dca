"""A log with its read models over real servers: tests append events, project them, and ask the public queries."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import redis

from application.log import Append, Appended, NewEvent
from domain.task.events import TaskEvent
from infrastructure.log.append_function import append_parameters, append_statement, read_outcomes
from infrastructure.log.codec import owner
from infrastructure.log.rows import AFTER_POSITION, own_events
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.hot_keys import generations_pattern
from infrastructure.read_models.hot_store import HotStore
from infrastructure.read_models.table_store import TableProjection, TableStore
from infrastructure.servers.postgres import connect, connect_sync, log_schema
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from projections import DOCUMENTS, TABLES, layouts_id
from projections.engine.changes import ChangeReader
from projections.engine.projector import Projector
from projections.task.document import TaskDocument, TaskRecord, fold

T = TypeVar("T")
LOG = "main"
SCHEMA = log_schema(LOG)
ANA = UUID("0195a000-0000-7000-8000-0000000000aa")
BEN = UUID("0195a000-0000-7000-8000-0000000000bb")
HOME = UUID("0195a000-0000-7000-8000-000000000001")
ELSEWHERE = UUID("0195a000-0000-7000-8000-000000000002")
MODEL_TABLES = tuple(table for projection in TABLES for table in projection.tables)


class World:
    """One log. `connection` is an autocommit connection of the test's own."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.connection = connect_sync(database_url, SCHEMA, "test")
        self.redis: redis.Redis = sync_client(redis_url, READ_MODELS)
        self._append = append_statement(SCHEMA)
        self._versions: dict[UUID, int] = {}
        self._open: list[Any] = []

    def close(self) -> None:
        for each in self._open:
            each.close()
        self.connection.close()
        self.redis.close()

    def reconnect(self) -> None:
        """After the test has stopped a server."""
        self.connection.close()
        self.connection = connect_sync(self.database_url, SCHEMA, "test")

    # Writing

    def record(
        self,
        task: UUID,
        *events: TaskEvent,
        workspace: UUID = HOME,
        by: UUID = ANA,
        at: datetime | None = None,
    ) -> int:
        """Append events to a task's stream; the position of the last one. `at` is when they happened, for an import."""
        return self.record_all([(task, workspace, by, events, at)])

    def record_all(self, writes: Sequence[tuple[UUID, UUID, UUID, Sequence[Any], datetime | None]]) -> int:
        """Append for several streams in one transaction."""
        appends = []
        for task, workspace, by, events, at in writes:
            version = self._versions.get(task, 0)
            new = tuple(
                NewEvent(task, version + number, event, at, owner(event).scope(event)) for number, event in enumerate(events, 1)
            )
            self._versions[task] = version + len(events)
            appends.append(
                Append(
                    workspace_id=workspace,
                    principal_id=by,
                    command_id=uuid4(),
                    correlation_id=uuid4(),
                    causation_id=None,
                    events=new,
                    receipt_start="{",
                )
            )
        cursor = self.connection.cursor(binary=True)
        cursor.execute(self._append, append_parameters(appends))
        answers = read_outcomes(appends, cursor.fetchone() or ())
        assert all(isinstance(answer, Appended) for answer in answers), answers
        return max(answer.position for answer in answers if isinstance(answer, Appended))

    # The log

    def records(self) -> list[TaskRecord]:
        """Every event of ours, in order."""
        cursor = self.connection.cursor(binary=True)
        cursor.execute(AFTER_POSITION, (0, 10**9))
        return own_events(cursor.fetchall())

    def head(self) -> int:
        return self._number("SELECT coalesce(max(notification_id), 0) FROM events")

    def folded(self, task: UUID, version: int | None = None) -> TaskDocument:
        """The plain fold of a task's events, up to a version."""
        document: TaskDocument | None = None
        for record in self.records():
            if record.stream_id == task and (version is None or record.version <= version):
                document = fold(document, record)
        assert document is not None
        return document

    # Projecting

    def keep(self, each: T) -> T:
        """Close it at the end."""
        self._open.append(each)
        return each

    def reconnecting(self) -> Reconnecting:
        return self.keep(Reconnecting(self.database_url, SCHEMA, "test projector"))

    def source(self) -> PostgresLogSource:
        return self.keep(PostgresLogSource(self.database_url, LOG))

    def tables(self, projections: Sequence[TableProjection] = TABLES) -> Projector:
        """A projector of the Postgres read models, as a process of its own would have it."""
        return Projector(TableStore(self.reconnecting(), projections), ChangeReader(self.source(), DOCUMENTS))

    def hot_store(self) -> HotStore:
        return HotStore(self.reconnecting(), self.redis, LOG)

    def hot(self, begin: bool = True) -> Projector:
        """A projector of the Redis read model, whose first generation is begun unless it is there."""
        if begin:
            HotStore(self.reconnecting(), self.redis, LOG, 1).begin(self.source().identity())
        return Projector(self.hot_store(), ChangeReader(self.source(), DOCUMENTS))

    def project(self, batch: int = 500) -> None:
        """Bring every read model to the head."""
        for projector in (self.tables(), self.hot()):
            while projector.advance(batch):
                pass

    def forget_read_models(self) -> None:
        """Back to an empty start."""
        for table in MODEL_TABLES:
            self.connection.execute(f"TRUNCATE {table}")
        self.connection.execute("TRUNCATE parked")
        self.connection.execute(
            "UPDATE checkpoints SET position = CASE WHEN position IS NOT NULL THEN 0 END, leaf_hash = NULL, attempts = 0, "
            "single_until = 0, held = NULL, noted_at = 0"
        )
        self.redis.flushdb()

    # Looking

    def position(self, projection: str) -> int:
        return self._number("SELECT position FROM checkpoints WHERE projection = %s", projection)

    def parked(self, projection: str) -> list[int]:
        """The positions that a projection has set aside."""
        rows = self.connection.execute("SELECT position FROM parked WHERE projection = %s ORDER BY position", (projection,))
        return [row[0] for row in rows.fetchall()]

    def ask(self, question: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]]) -> T:
        """Put one of the read models' public queries."""

        async def put() -> T:
            async with await connect(self.database_url, SCHEMA, "test reader") as connection:
                return await question(connection)

        return asyncio.run(put())

    def table_dump(self, tables: Sequence[str] = MODEL_TABLES) -> dict[str, list[str]]:
        """The rows of the Postgres read models as text, binary columns in hexadecimal, in order."""
        return {
            table: [row[0] for row in self.connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall()]
            for table in tables
        }

    def hot_dump(self) -> dict[bytes, object]:
        """Every key of the Redis read model without its generation, and its value in a canonical form."""
        prefix = f"tm:{{{LOG}}}:hot-{layouts_id()}:".encode()
        return {
            key[len(prefix) :].partition(b":")[2]: _canonical(self.redis, key) for key in self.redis.scan_iter(prefix + b"*")
        }

    def generations(self) -> set[int]:
        """The generations of which any key is left in Redis."""
        return {int(key.split(b":")[3]) for key in self.redis.scan_iter(generations_pattern(LOG))}

    def _number(self, query: str, *parameters: object) -> int:
        row = self.connection.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return int(row[0])


def _canonical(client: Any, key: bytes) -> object:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return sorted(client.hgetall(key).items())
        case b"zset":
            return client.zrange(key, 0, -1, withscores=True)
        case other:
            raise AssertionError(f"{key!r} is a {other!r}")


@contextmanager
def open_world(database_url: str, redis_url: str) -> Iterator[World]:
    world = World(database_url, redis_url)
    try:
        yield world
    finally:
        world.close()


def number(value: int) -> UUID:
    """A task's id that tells which one it is."""
    return UUID(int=0x0195A000_0000_7000_8000_000000000000 + value)
