"""The event store without a server: the same answers as the log's, forgotten when it goes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from application.log import (
    Append,
    Appended,
    ConditionViolated,
    IdempotencyKey,
    IdempotencyMismatch,
    Loaded,
    NewEvent,
    VersionConflict,
)
from application.receipts import completed
from domain.aggregate import Aggregate
from domain.boundaries import Boundary, Seen
from domain.envelope import Erased, RecordedEvent
from infrastructure.log import tags
from infrastructure.log.codec import decode, encode, owner
from infrastructure.log.rows import Record

B = TypeVar("B")


class InMemoryEventStore:
    """EventStore over lists. `events` is the log so far, in order of positions; each append asks `now`.

    Payloads go through the codec, so that what cannot be stored is refused here as well. Streams start at
    version 1; an event's hash is one of its position alone.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.events: list[Record] = []
        self._now = now
        self._streams: defaultdict[UUID, list[Record]] = defaultdict(list)
        self._receipts: dict[tuple[UUID, UUID, str], tuple[bytes, Appended]] = {}
        self._remembered: dict[UUID, Loaded[Any]] = {}
        self._boundaries: dict[str, Seen[Any]] = {}
        self._tagged: defaultdict[str, list[Record]] = defaultdict(list)
        self._numbers: defaultdict[UUID, int] = defaultdict(int)

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
        return msgspec.structs.replace(appended, replayed=True)

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
        refusal = self._refusal(append)
        if refusal:
            return self._stored_before(append, refusal)
        recorded_at = self._now()
        if self.events:
            recorded_at = max(recorded_at, self.events[-1].recorded_at)
        for new in append.events:
            self._add(self._record(append, new, len(self.events) + 1, recorded_at))
        appended = self._answer(append, len(self.events), recorded_at, replayed=False)
        if append.idempotency:
            owner = (append.workspace_id, append.principal_id, append.idempotency.key)
            self._receipts[owner] = (append.idempotency.request_hash, appended)
        return appended

    async def append_chain(self, appends: Sequence[Append]) -> list[Appended | Exception]:
        """See `EventStore.append_chain`; never LogUnavailable."""
        head, own, answers = len(self.events), set[str](), list[Appended | Exception]()
        rests = any(append.conditions for append in appends)
        for append in appends:
            broken = rests and any(isinstance(each, Exception) or each.replayed for each in answers)
            others = [each for each in append.conditions if each.tag not in own]
            # What the chain itself has appended does not matter: of those tags the last event before it counts.
            broken = broken or any(each.at != self._last(each.tag, head) for each in append.conditions if each.tag in own)
            try:
                if broken:
                    answers.append(self._stored_before(append, ConditionViolated()))
                    continue
                answers.append(await self.append(msgspec.structs.replace(append, conditions=tuple(others))))
            except (ConditionViolated, VersionConflict, IdempotencyMismatch) as refusal:
                answers.append(refusal)
                continue
            own.update(*(tags.tags_of(new.event, new.stream_id, append.workspace_id) for new in append.events))
        return answers

    def _last(self, tag: str, until: int) -> int:
        return max((record.position for record in self._tagged.get(tag, ()) if record.position <= until), default=0)

    def recall_boundary(self, boundary: Boundary[B]) -> Seen[B] | None:
        """See `EventStore.recall_boundary`."""
        return self._boundaries.get(boundary.tag)

    def remember_boundary(self, boundary: Boundary[B], seen: Seen[B]) -> None:
        """See `EventStore.remember_boundary`."""
        self._boundaries[boundary.tag] = seen

    async def load_boundary(self, boundary: Boundary[B], seen: Seen[B] | None = None) -> Seen[B]:
        """See `EventStore.load_boundary`."""
        state, at = (seen.state, seen.at) if seen else (boundary.initial, 0)
        for record in self._tagged.get(boundary.tag, ()):
            if record.position > at:
                state, at = boundary.evolve(state, record.event), record.position
        self._boundaries[boundary.tag] = Seen(state, at)
        return Seen(state, at)

    def _add(self, record: Record) -> None:
        assert not isinstance(record.event, Erased)
        self.events.append(record)
        self._streams[record.stream_id].append(record)
        for tag in tags.tags_of(record.event, record.stream_id, record.workspace_id):
            self._tagged[tag].append(record)
        if record.scope is not None:
            self._numbers[record.scope] += 1

    def _refusal(self, append: Append) -> Exception | None:
        for condition in append.conditions:
            tagged = self._tagged.get(condition.tag)
            if condition.at != (tagged[-1].position if tagged else 0):
                return ConditionViolated()
        return None if self._fits(append) else VersionConflict()

    def _fits(self, append: Append) -> bool:
        versions: dict[UUID, int] = {}
        for new in append.events:
            before = versions.get(new.stream_id, len(self._streams.get(new.stream_id, ())))
            if new.version != before + 1:
                return False
            versions[new.stream_id] = new.version
        return True

    def _stored_before(self, append: Append, refusal: Exception) -> Appended:
        first = append.events[0] if append.events else None
        stream = self._streams.get(first.stream_id, ()) if first else ()
        if first and 1 <= first.version <= len(stream):
            record = stream[first.version - 1]
            if record.command_id == append.command_id:
                last = record.position + len(append.events) - 1
                return self._answer(append, last, self.events[-1].recorded_at, replayed=True)
        raise refusal

    def _record(self, append: Append, new: NewEvent, position: int, recorded_at: datetime) -> Record:
        stored = encode(new.event, append.principal_id)
        return RecordedEvent(
            position=position,
            stream_id=new.stream_id,
            version=new.version,
            recorded_at=recorded_at,
            effective_at=new.effective_at,
            workspace_id=append.workspace_id,
            principal_id=append.principal_id,
            command_id=append.command_id,
            correlation_id=append.correlation_id,
            causation_id=append.causation_id,
            event=decode(stored.topic, stored.schema_version, stored.state),
            hash=sha256(str(position).encode()).digest(),
            authority=append.authority,
            scope=new.scope,
            number=None if new.scope is None else self._numbers[new.scope] + 1,
        )

    def _answer(self, append: Append, position: int, recorded_at: datetime, *, replayed: bool) -> Appended:
        records = self.events[position - len(append.events) : position]
        event_hash = records[-1].hash if records else b""
        number = next((record.number for record in reversed(records) if record.number is not None), None)
        body = completed(append.receipt_start, position, event_hash, number)
        return Appended(position, recorded_at, body, replayed, event_hash, number)
