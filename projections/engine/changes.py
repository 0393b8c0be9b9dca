"""From recorded events to changes: each event with its stream's document before and after it, read once and shared by all."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any, Generic, Protocol
from uuid import UUID

import msgspec

from domain.envelope import Erased, RecordedEvent
from projections.engine.documents import D, Document, Documents

KEPT_DOCUMENTS = 20_000
KEPT_CHANGES = 10_000
KEPT_BYTES = 128 * 1024 * 1024
"""Of documents and changes together, roughly; a setting for workers."""
_PASSED_BYTES = 500
_CHANGE_BYTES = 1_000


class Change(msgspec.Struct, Generic[D], frozen=True, gc=False):
    """One event and what it did: its stream's document before it (None for the first) and after it.

    `aggregate` is the name of the stream's kind, by which a projection knows whether it follows it.
    """

    record: RecordedEvent[Any]
    before: D | None
    after: D
    aggregate: str


class ForeignEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of somebody else's application in this log, as far as anybody here needs to know it."""

    position: int
    stream_id: UUID
    version: int
    topic: str
    hash: bytes


class StreamsErased(ForeignEvent, frozen=True, gc=False):
    """The log's own word that the payloads of these streams' events before this one were erased."""

    streams: tuple[UUID, ...]


class Passed(msgspec.Struct, frozen=True, gc=False):
    """A place of the log at which nothing of ours happened: read models only move past it."""

    record: ForeignEvent


History = Sequence[Change[Any]]
"""The changes of one stream, from the first on."""


class Redaction(msgspec.Struct, frozen=True):
    """A place of the log from which on no read model holds what the erased payloads of some streams said.

    `histories()` are the changes of these streams up to here, as the log tells them now; those without any are left out.
    """

    record: StreamsErased
    histories: Callable[[], list[History]]


Entry = Change[Any] | Passed | Redaction
"""What stands at a position."""


def parted(entries: Iterable[Entry]) -> Iterator[list[Change[Any]] | Redaction]:
    """The changes and the redactions in order, all changes between two redactions together."""
    changes: list[Change[Any]] = []
    for entry in entries:
        if type(entry) is Change:
            changes.append(entry)
        elif isinstance(entry, Redaction):
            if changes:
                yield changes
            yield entry
            changes = []
    if changes:
        yield changes


def changes_of(records: Iterable[RecordedEvent[Any]], kinds: Callable[[Any], Documents[Any] | None]) -> History:
    """What the events of one stream did, from its first on; `kinds` gives the documents of an event's aggregate."""
    document: Any = None
    changes: list[Change[Any]] = []
    for record in records:
        kind = kinds(record.event)
        if kind is not None:
            before, document = document, kind.fold(document, record)
            changes.append(Change(record, before, document, kind.aggregate.name))
    return changes


def followed(changes: Sequence[Change[Any]], aggregates: Set[str]) -> Sequence[Change[Any]]:
    """Those of these aggregates, in order; the same object where that is all of them."""
    wanted = [change for change in changes if change.aggregate in aggregates]
    return changes if len(wanted) == len(changes) else wanted


class LogIdentity(msgspec.Struct, frozen=True):
    """Which log this is: its id, and an epoch that a restore or failover increments."""

    log_id: UUID
    epoch: int


class LogSource(Protocol):
    """The log as the read side sees it. Implementations are used by one thread at a time."""

    @property
    def last_erasure(self) -> int:
        """The newest position at which payloads were erased when events were read last; 0 for none."""

    def events_after(self, position: int, limit: int) -> list[RecordedEvent[Any] | ForeignEvent]:
        """Up to `limit` events after `position`, in order; raises for an event type of ours that is unknown here."""

    def stream_until(self, stream_id: UUID, position: int) -> list[RecordedEvent[Any]]:
        """Our events of a stream before `position`, in order."""

    def documents_at(self, kind: Documents[D], versions: Mapping[UUID, int]) -> dict[UUID, D]:
        """The named streams of one aggregate as they were right after the given version."""

    def identity(self) -> LogIdentity:
        """Which log this is."""

    def hash_at(self, position: int) -> bytes | None:
        """The stored hash of the event at `position`, None where there is none."""

    def head(self) -> int:
        """The newest position."""


class ChangeReader:
    """Reads changes from a log for any number of projectors in one process.

    Keeps the documents of recently changed streams and the newest changes, so that several projections that follow the
    same log read, decode and fold every event once. Forgets them where the source fails: after a lost connection the log
    may be another one; and whenever payloads were erased, so that nothing is folded from what they said. What is kept is
    bounded in number and in bytes. Safe to call from several threads.
    """

    def __init__(self, source: LogSource, documents: Mapping[str, Documents[Any]], kept_bytes: int = KEPT_BYTES) -> None:
        self._source = source
        self._documents_of = documents
        self._kinds = {event: kind for kind in documents.values() for event in kind.aggregate.events}
        self._kinds_by_topic = {str(event.__struct_config__.tag): kind for event, kind in self._kinds.items()}
        self._most_bytes = kept_bytes // 2
        self._document_bytes = 0
        self._recent_bytes = 0
        self._lock = threading.Lock()
        # By the numbers of their ids, which are compared and hashed without Python.
        self._documents: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._recent: list[Entry] = []
        self._recent_sizes: list[int] = []
        self._last_erasure = 0

    @property
    def kept_bytes(self) -> int:
        """Roughly how much memory is taken by what is kept."""
        return self._document_bytes + self._recent_bytes

    def after(self, position: int, limit: int) -> list[Entry]:
        """What stands at up to `limit` positions directly after `position`, in order, without gaps."""
        with self._lock:
            recent = self._recent
            if recent and recent[0].record.position <= position + 1 <= recent[-1].record.position:
                start = position + 1 - recent[0].record.position
                return recent[start : start + limit]
            changes, sizes = self._read(position, limit)
            if not changes:
                return changes
            if recent and recent[-1].record.position + 1 != changes[0].record.position:
                recent.clear()
                self._recent_sizes.clear()
                self._recent_bytes = 0
            recent.extend(changes)
            self._recent_sizes.extend(sizes)
            self._recent_bytes += sum(sizes)
            self._trim()
            return changes

    def _trim(self) -> None:
        recent, sizes = self._recent, self._recent_sizes
        spare = max(0, len(recent) - KEPT_CHANGES)
        self._recent_bytes -= sum(sizes[:spare])
        while spare < len(recent) and self._recent_bytes > self._most_bytes:
            self._recent_bytes -= sizes[spare]
            spare += 1
        del recent[:spare]
        del sizes[:spare]
        documents = self._documents
        while len(documents) > KEPT_DOCUMENTS or (documents and self._document_bytes > self._most_bytes):
            self._document_bytes -= documents.popitem(last=False)[1][1]

    def hash_at(self, position: int) -> bytes | None:
        """The hash of the event at `position`, None where there is none."""
        with self._lock:
            recent = self._recent
            if recent and recent[0].record.position <= position <= recent[-1].record.position:
                return recent[position - recent[0].record.position].record.hash
            return self._source.hash_at(position)

    def head(self) -> int:
        """The log's newest position."""
        with self._lock:
            return self._source.head()

    def identity(self) -> LogIdentity:
        """Which log this reads."""
        with self._lock:
            return self._source.identity()

    def forget(self) -> None:
        """Drop what was kept: the log turned out to be another one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._documents.clear()
        self._recent.clear()
        self._recent_sizes.clear()
        self._document_bytes = self._recent_bytes = 0

    def _read(self, position: int, limit: int) -> tuple[list[Entry], list[int]]:
        try:
            records = self._source.events_after(position, limit)
            if records and self._source.last_erasure != self._last_erasure:
                self._drop()
                for documents in self._documents_of.values():
                    documents.forget()
                self._last_erasure = self._source.last_erasure
            return self._fold(records)
        except Exception:
            self._drop()
            raise

    def _fold(self, records: Sequence[RecordedEvent[Any] | ForeignEvent]) -> tuple[list[Entry], list[int]]:
        """What the records did, and how many bytes each takes, about: the document before it is, but for what changed, the same
        memory."""
        kinds = [self._kind_of(record.event) if type(record) is RecordedEvent else None for record in records]
        self._recover(records, kinds)
        documents = self._documents
        entries: list[Entry] = []
        sizes: list[int] = []
        for record, kind in zip(records, kinds, strict=True):
            if kind is None or isinstance(record, ForeignEvent):
                entries.append(self._passed(record))
                sizes.append(_PASSED_BYTES)
                continue
            known = documents.get(record.stream_id.int) if record.version > 1 else None
            before = known[0] if known else None
            after = kind.fold(before, record)
            sizes.append(_CHANGE_BYTES + self._keep(kind, after))
            entries.append(Change(record, before, after, kind.aggregate.name))
        return entries, sizes

    def _passed(self, record: RecordedEvent[Any] | ForeignEvent) -> Entry:
        if isinstance(record, StreamsErased):
            return Redaction(record, partial(self._histories, record))
        return Passed(_passed_over(record))

    def _histories(self, erased: StreamsErased) -> list[History]:
        with self._lock:
            found = [changes_of(self._source.stream_until(each, erased.position), self._kind_of) for each in erased.streams]
        return [history for history in found if history]

    def _kind_of(self, event: msgspec.Struct) -> Documents[Any] | None:
        return self._kinds_by_topic.get(event.topic) if type(event) is Erased else self._kinds.get(type(event))

    def _keep(self, kind: Documents[Any], document: Document) -> int:
        """Keep the document; returns its size."""
        key = document.id.int
        known = self._documents.get(key)
        size = kind.size(document)
        self._document_bytes += size - known[1] if known else size
        self._documents[key] = (document, size)
        return size

    def _recover(self, records: Sequence[RecordedEvent[Any] | ForeignEvent], kinds: Sequence[Documents[Any] | None]) -> None:
        """Load the documents of streams whose state before these events is not at hand."""
        wanted: dict[str, dict[UUID, int]] = {}
        seen: set[int] = set()
        for record, kind in zip(records, kinds, strict=True):
            key = record.stream_id.int
            if kind is None or key in seen:
                continue
            seen.add(key)
            known = self._documents.get(key)
            if known is not None:
                self._documents.move_to_end(key)
            if record.version > 1 and (known is None or known[0].version != record.version - 1):
                wanted.setdefault(kind.aggregate.name, {})[record.stream_id] = record.version - 1
        for name, versions in wanted.items():
            kind = self._documents_of[name]
            for document in self._source.documents_at(kind, versions).values():
                self._keep(kind, document)


def _passed_over(record: RecordedEvent[Any] | ForeignEvent) -> ForeignEvent:
    """An event of ours that no projection has documents of is one that happened to somebody else."""
    if isinstance(record, ForeignEvent):
        return record
    topic = str(record.event.__struct_config__.tag)
    return ForeignEvent(record.position, record.stream_id, record.version, topic, record.hash)
