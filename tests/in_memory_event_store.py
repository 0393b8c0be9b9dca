"""The event store without a server: the same answers as the log's, forgotten when it goes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application.log import (
    Append,
    Appended,
    IdempotencyKey,
    IdempotencyMismatch,
    Loaded,
    NewEvent,
    VersionConflict,
)
from application.receipts import completed
from domain.aggregate import Aggregate
from domain.envelope import RecordedEvent
from infrastructure.log.codec import decode, encode, owner
from infrastructure.log.rows import Record


class InMemoryEventStore:
    """EventStore over lists. `events` is the log so far, in order of positions; each append asks `now`.

    Payloads go through the codec, so that what cannot be stored is refused here as well. Streams start at
    version 1; nothing is hashed.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.events: list[Record] = []
        self._now = now
        self._streams: defaultdict[UUID, list[Record]] = defaultdict(list)
        self._receipts: dict[tuple[UUID, UUID, str], tuple[bytes, Appended]] = {}
        self._remembered: dict[UUID, Loaded[Any]] = {}

    def recall(self, stream_id: UUID) -> Loaded[Any] | None:
        """See `EventStore.recall`."""
        return self._remembered.get(stream_id)

    def remember(self, stream_id: UUID, loaded: Loaded[Any]) -> None:
        """See `EventStore.remember`."""
        self._remembered[stream_id] = loaded

    async def load(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID) -> Loaded[Any] | None:
        """See `EventStore.load`."""
        records = self._streams.get(stream_id)
        if not records:
            return None
        aggregate, state = owner(records[0].event), None
        for record in records:
            state = aggregate.evolve(state, record.event)
        last = records[-1]
        loaded = Loaded(aggregate, state, last.version, last.position, last.workspace_id, last.happened_at)
        self._remembered[stream_id] = loaded
        return loaded

    async def touched_since(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID, version: int) -> frozenset[str]:
        """See `EventStore.touched_since`."""
        touched: frozenset[str] = frozenset()
        return touched.union(*(aggregate.touched[type(record.event)] for record in self._streams.get(stream_id, ())[version:]))

    async def find_receipt(self, workspace_id: UUID, principal_id: UUID, idempotency: IdempotencyKey) -> Appended | None:
        """See `EventStore.find_receipt`."""
        known = self._receipts.get((workspace_id, principal_id, idempotency.key))
        if known is None:
            return None
        request_hash, appended = known
        if request_hash != idempotency.request_hash:
            raise IdempotencyMismatch
        return Appended(appended.position, appended.recorded_at, appended.receipt, True)

    async def find_receipts(self, workspace_id: UUID, principal_id: UUID, keys: Sequence[str]) -> dict[str, Appended]:
        """See `EventStore.find_receipts`."""
        known = {key: self._receipts.get((workspace_id, principal_id, key)) for key in keys}
        return {key: msgspec.structs.replace(found[1], replayed=True) for key, found in known.items() if found}

    async def head(self) -> int:
        """See `EventStore.head`."""
        return len(self.events)

    async def append(self, append: Append) -> Appended:
        """See `EventStore.append`; never LogUnavailable."""
        if append.idempotency:
            known = await self.find_receipt(append.workspace_id, append.principal_id, append.idempotency)
            if known:
                return known
        if not self._fits(append):
            return self._stored_before(append)
        recorded_at = self._now()
        if self.events:
            recorded_at = max(recorded_at, self.events[-1].recorded_at)
        records = [
            self._record(append, new, position, recorded_at) for position, new in enumerate(append.events, len(self.events) + 1)
        ]
        for record in records:
            self.events.append(record)
            self._streams[record.stream_id].append(record)
        appended = _answer(append, len(self.events), recorded_at, replayed=False)
        if append.idempotency:
            owner = (append.workspace_id, append.principal_id, append.idempotency.key)
            self._receipts[owner] = (append.idempotency.request_hash, appended)
        return appended

    def _fits(self, append: Append) -> bool:
        versions: dict[UUID, int] = {}
        for new in append.events:
            before = versions.get(new.stream_id, len(self._streams.get(new.stream_id, ())))
            if new.version != before + 1:
                return False
            versions[new.stream_id] = new.version
        return True

    def _stored_before(self, append: Append) -> Appended:
        first = append.events[0]
        stream = self._streams.get(first.stream_id, ())
        if 1 <= first.version <= len(stream):
            record = stream[first.version - 1]
            if record.command_id == append.command_id:
                last = record.position + len(append.events) - 1
                return _answer(append, last, self.events[-1].recorded_at, replayed=True)
        raise VersionConflict

    def _record(self, append: Append, new: NewEvent, position: int, recorded_at: datetime) -> Record:
        stored = encode(new.event, append.principal_id)
        return RecordedEvent(
            position,
            new.stream_id,
            new.version,
            recorded_at,
            new.effective_at,
            append.workspace_id,
            append.principal_id,
            append.command_id,
            append.correlation_id,
            append.causation_id,
            decode(stored.topic, stored.schema_version, stored.state),
        )


def _answer(append: Append, position: int, recorded_at: datetime, *, replayed: bool) -> Appended:
    return Appended(position, recorded_at, completed(append.receipt_start, position), replayed)
