"""The event store of one log as the API uses it: append in groups, read by stream or position."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from application.log import (
    Append,
    Appended,
    IdempotencyKey,
    IdempotencyMismatch,
    Loaded,
    LogUnavailable,
)
from domain.aggregate import Aggregate
from domain.boundaries import Boundary, Seen
from infrastructure.log.addresses import NOBODY, Addresses
from infrastructure.log.append_function import appended_as
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.log.boundary_reading import BoundaryMemory, read_boundary
from infrastructure.log.codec import touched
from infrastructure.log.fair_queue import QueueBounds
from infrastructure.log.loading import ANY_VERSION, load_stream
from infrastructure.log.places import Place, is_in_the_future, require_place
from infrastructure.log.rows import AFTER_POSITION, HEAD, OF_STREAM, Record, own_events
from infrastructure.log.stream_memory import StreamMemory
from infrastructure.log.time_travel import Moment, Past, document_as_of, document_at_version
from infrastructure.servers.postgres import AsyncPool, connect, log_schema
from projections.engine.documents import D, Documents

B = TypeVar("B")

MOST_VERSIONS_BACK = 10_000
"""So far back the changes since a version in If-Match are looked at; after more of them every field counts as changed."""

# Topics alone, by the primary key: payloads are not read, whatever their size.
_TOPICS_SINCE: LiteralString = (
    "SELECT DISTINCT topic FROM events WHERE originator_id = %s AND originator_version > %s AND originator_version <= %s "
    "UNION ALL SELECT '' WHERE EXISTS (SELECT FROM events WHERE originator_id = %s AND originator_version > %s)"
)


class Memory(msgspec.Struct):
    """What a process remembers of a log: streams, and boundaries beside them."""

    streams: StreamMemory = msgspec.field(default_factory=StreamMemory)
    boundaries: BoundaryMemory = msgspec.field(default_factory=BoundaryMemory)


class PostgresEventStore:
    """EventStore over PostgreSQL. What it remembers is bounded: appends prove it, reconnects and erasures empty it."""

    def __init__(
        self,
        database_url: str,
        log_name: str,
        reads: AsyncPool,
        on_commit: Callable[[int], None] = lambda _: None,
        on_reconnect: Callable[[], None] = lambda: None,
        memory: Memory | None = None,
        bounds: QueueBounds | None = None,
    ) -> None:
        def reconnected() -> None:
            # The log may be another one now.
            self.forget()
            on_reconnect()

        schema = log_schema(log_name)
        self._reads = reads
        memory = memory or Memory()
        self._memory, self._boundaries = memory.streams, memory.boundaries
        self._addresses = Addresses()
        self._appender = GroupCommitAppender(
            lambda: connect(database_url, schema, "taskmaster appender"),
            schema,
            on_commit,
            reconnected,
            bounds or QueueBounds(),
        )

    async def start(self) -> None:
        """Open the appender's connection."""
        await self._appender.start()

    async def stop(self) -> None:
        """Answer what waits and close."""
        await self._appender.stop()

    async def append(self, append: Append) -> Appended:
        """See `EventStore.append`."""
        return await self._appender.append(append)

    async def append_chain(self, appends: Sequence[Append]) -> list[Appended | Exception]:
        """See `EventStore.append_chain`."""
        return await self._appender.append_chain(appends)

    def has_company(self, workspace_id: UUID) -> bool:
        """See `GroupCommitAppender.has_company`."""
        return self._appender.has_company(workspace_id)

    def forget(self) -> None:
        """Nothing of streams and boundaries is remembered any more: they are read again when they are next needed."""
        self._memory.clear()
        self._boundaries.clear()
        self._addresses.clear()

    def recall(self, stream_id: UUID) -> Loaded[Any] | None:
        """See `EventStore.recall`."""
        return self._memory.recall(stream_id)

    def remember(self, stream_id: UUID, loaded: Loaded[Any]) -> None:
        """See `EventStore.remember`."""
        self._memory.remember(stream_id, loaded)

    async def load(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID) -> Loaded[Any] | None:
        """See `EventStore.load`."""
        async with self._reading() as connection:
            loaded = await load_stream(connection, aggregate, stream_id)
        if loaded is None:
            return None
        # Even over a newer version: a log that was restored knows less than this process remembers.
        self._memory.replace(stream_id, loaded)
        return loaded

    def recall_boundary(self, boundary: Boundary[B]) -> Seen[B] | None:
        """See `EventStore.recall_boundary`."""
        return self._boundaries.recall(boundary)

    def remember_boundary(self, boundary: Boundary[B], seen: Seen[B]) -> None:
        """See `EventStore.remember_boundary`."""
        self._boundaries.remember(boundary, seen)

    async def load_boundary(self, boundary: Boundary[B], seen: Seen[B] | None = None) -> Seen[B]:
        """See `EventStore.load_boundary`."""
        async with self._reading() as connection:
            loaded = await read_boundary(connection, boundary, seen or Seen(boundary.initial, 0))
        # Even over what is newer: a log that was restored knows less than this process remembers.
        self._boundaries.replace(boundary, loaded)
        return loaded

    async def document(self, documents: Documents[D], stream_id: UUID) -> D | None:
        """The stream's document as it is now, folded from the log; None where there is none of that kind."""
        async with self._reading() as connection:
            return await document_at_version(connection, documents, stream_id, ANY_VERSION)

    async def as_of(self, documents: Documents[D], workspace_id: UUID, stream_id: UUID, moment: Moment) -> Past[D] | None:
        """See `document_as_of`."""
        async with self._reading() as connection:
            return await document_as_of(connection, documents, workspace_id, stream_id, moment)

    async def addressed(self, workspace_id: UUID, key: str, number: int = 0) -> UUID:
        """The project that the key leads to, or with `number` the task; `NOBODY` where it leads nowhere."""
        return (await self.all_addressed(workspace_id, [(key, number)]))[key, number]

    async def all_addressed(self, workspace_id: UUID, addresses: Collection[tuple[str, int]]) -> dict[tuple[str, int], UUID]:
        """The same for many, in one statement for all that are not remembered."""
        names = {(workspace_id, key, number): self._addresses.recall((workspace_id, key, number)) for key, number in addresses}
        if unknown := [name for name, stream_id in names.items() if stream_id is None]:
            async with self._reading() as connection:
                names |= await self._addresses.look_up(connection, workspace_id, unknown)
        return {(key, number): stream_id or NOBODY for (_, key, number), stream_id in names.items()}

    async def require_place(self, place: Place, parameter: str) -> Place:
        """See `log_places.require_place`."""
        async with self._reading() as connection:
            return await require_place(connection, place, parameter)

    async def is_in_the_future(self, instant: datetime) -> bool:
        """See `log_places.is_in_the_future`."""
        async with self._reading() as connection:
            return await is_in_the_future(connection, instant)

    async def touched_since(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID, version: int) -> frozenset[str]:
        """See `EventStore.touched_since`."""
        last = version + MOST_VERSIONS_BACK
        async with self._reading() as connection:
            parameters = (stream_id, version, last, stream_id, last)
            topics = await (await connection.execute(_TOPICS_SINCE, parameters, prepare=True)).fetchall()
        return frozenset().union(*(_or_all(touched(topic), aggregate) for (topic,) in topics))

    async def events_of(self, stream_id: UUID, after: int = 0, until: int = ANY_VERSION) -> list[Record]:
        """The stream's events with after < version <= until, in order."""
        return await self._read(OF_STREAM, (stream_id, after, until))

    async def events_after(self, position: int, limit: int) -> list[Record]:
        """Up to `limit` events of the whole log after `position`, in order."""
        return await self._read(AFTER_POSITION, (position, limit))

    async def _read(self, query: str, parameters: tuple[object, ...]) -> list[Record]:
        async with self._reading() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(query.encode(), parameters, prepare=True)
            return own_events(await cursor.fetchall())

    async def head(self) -> int:
        """The newest position, 0 for an empty log."""
        async with self._reading() as connection:
            cursor = await connection.execute(HEAD, prepare=True)
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A read connection; raises LogUnavailable where the log cannot be read."""
        try:
            async with self._reads.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise LogUnavailable("the log cannot be read") from error

    async def find_receipts(self, workspace_id: UUID, principal_id: UUID, keys: Sequence[str]) -> dict[str, Appended]:
        """See `EventStore.find_receipts`."""
        async with self._reading() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                "SELECT key, receipt, recorded_at FROM idempotency "
                "WHERE principal_id = %s AND key = ANY(%s) AND workspace_id = %s",
                (principal_id, list(keys), workspace_id),
            )
            rows = await cursor.fetchall()
        return {key: appended_as(receipt, at, replayed=True) for key, receipt, at in rows}

    async def find_receipt(self, workspace_id: UUID, principal_id: UUID, idempotency: IdempotencyKey) -> Appended | None:
        """See `EventStore.find_receipt`."""
        async with self._reading() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                "SELECT request_hash, receipt, recorded_at FROM idempotency "
                "WHERE principal_id = %s AND key = %s AND workspace_id = %s",
                (principal_id, idempotency.key, workspace_id),
                prepare=True,
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        if bytes(row[0]) != idempotency.request_hash:
            raise IdempotencyMismatch
        return appended_as(row[1], row[2], replayed=True)


def _or_all(fields: frozenset[str] | None, aggregate: Aggregate[Any, Any, Any]) -> frozenset[str]:
    return aggregate.fields if fields is None else fields
