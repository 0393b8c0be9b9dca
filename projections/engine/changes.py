"""From recorded events to changes: each event with the task before and after it, read once and shared by all projections."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import Protocol
from uuid import UUID

import msgspec

from projections.task.document import TaskDocument, TaskRecord, fold

KEPT_DOCUMENTS = 20_000
KEPT_CHANGES = 6_000
KEPT_BYTES = 128 * 1024 * 1024
"""Of documents and changes together, roughly; a setting for workers."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event and what it did: the task before it (None for the first) and after it."""

    record: TaskRecord
    before: TaskDocument | None
    after: TaskDocument


class ForeignEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of somebody else's application in this log, as far as anybody here needs to know it."""

    position: int
    stream_id: UUID
    version: int
    topic: str
    hash: bytes


class Passed(msgspec.Struct, frozen=True, gc=False):
    """A place of the log at which nothing of ours happened: read models only move past it."""

    record: ForeignEvent


Entry = Change | Passed
"""What stands at a position."""


def changes_among(entries: Sequence[Entry]) -> list[Change]:
    """The changes, in order."""
    return [entry for entry in entries if type(entry) is Change]


class LogIdentity(msgspec.Struct, frozen=True):
    """Which log this is: its id, and an epoch that a restore or failover increments."""

    log_id: UUID
    epoch: int


class LogSource(Protocol):
    """The log as the read side sees it. Implementations are used by one thread at a time."""

    def events_after(self, position: int, limit: int) -> list[TaskRecord | ForeignEvent]:
        """Up to `limit` events after `position`, in order; raises for an event type of ours that is unknown here."""

    def documents_at(self, versions: Mapping[UUID, int]) -> dict[UUID, TaskDocument]:
        """The named tasks as they were right after the given version."""

    def identity(self) -> LogIdentity:
        """Which log this is."""

    def hash_at(self, position: int) -> bytes | None:
        """The stored hash of the event at `position`, None where there is none."""

    def head(self) -> int:
        """The newest position."""


class ChangeReader:
    """Reads changes from a log for any number of projectors in one process.

    Keeps the documents of recently changed tasks and the newest changes, so that several projections that follow the
    same log read, decode and fold every event once. Forgets them where the source fails: after a lost connection the log
    may be another one. What is kept is bounded in number and in bytes. Safe to call from several threads.
    """

    def __init__(self, source: LogSource, kept_bytes: int = KEPT_BYTES) -> None:
        self._source = source
        self._most_bytes = kept_bytes // 2
        self._document_bytes = 0
        self._recent_bytes = 0
        self._lock = threading.Lock()
        self._documents: OrderedDict[UUID, TaskDocument] = OrderedDict()
        self._recent: list[Entry] = []

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
            changes = self._read(position, limit)
            if recent and changes and recent[-1].record.position + 1 == changes[0].record.position:
                recent.extend(changes)
                self._recent_bytes += sum(map(_entry_size, changes))
            elif changes:
                self._recent = list(changes)
                self._recent_bytes = sum(map(_entry_size, changes))
            self._trim()
            return changes

    def _trim(self) -> None:
        recent = self._recent
        spare = max(0, len(recent) - KEPT_CHANGES)
        self._recent_bytes -= sum(map(_entry_size, recent[:spare]))
        while spare < len(recent) and self._recent_bytes > self._most_bytes:
            self._recent_bytes -= _entry_size(recent[spare])
            spare += 1
        del recent[:spare]
        documents = self._documents
        while len(documents) > KEPT_DOCUMENTS or (documents and self._document_bytes > self._most_bytes):
            self._document_bytes -= _document_size(documents.popitem(last=False)[1])

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
        self._recent = []
        self._document_bytes = self._recent_bytes = 0

    def _read(self, position: int, limit: int) -> list[Entry]:
        try:
            return self._fold(self._source.events_after(position, limit))
        except Exception:
            self._drop()
            raise

    def _fold(self, records: Sequence[TaskRecord | ForeignEvent]) -> list[Entry]:
        documents = self._documents
        self._recover([record for record in records if not isinstance(record, ForeignEvent)])
        entries: list[Entry] = []
        for record in records:
            if isinstance(record, ForeignEvent):
                entries.append(Passed(record))
                continue
            before = documents.get(record.stream_id) if record.version > 1 else None
            after = fold(before, record)
            self._keep(after)
            entries.append(Change(record, before, after))
        return entries

    def _keep(self, document: TaskDocument) -> None:
        known = self._documents.get(document.id)
        if known is not None:
            self._document_bytes -= _document_size(known)
        self._documents[document.id] = document
        self._document_bytes += _document_size(document)

    def _recover(self, records: Sequence[TaskRecord]) -> None:
        """Load the tasks whose state before these events is not at hand."""
        wanted: dict[UUID, int] = {}
        seen: set[UUID] = set()
        for record in records:
            if record.stream_id in seen:
                continue
            seen.add(record.stream_id)
            known = self._documents.get(record.stream_id)
            if known is not None:
                self._documents.move_to_end(record.stream_id)
            if record.version > 1 and (known is None or known.version != record.version - 1):
                wanted[record.stream_id] = record.version - 1
        if wanted:
            for document in self._source.documents_at(wanted).values():
                self._keep(document)


def _document_size(document: TaskDocument) -> int:
    task = document.task
    return 1500 + getsizeof(task.title) + getsizeof(task.description) + sum(map(getsizeof, task.labels))


def _entry_size(entry: Entry) -> int:
    """The document before it is, but for the fields that changed, the same memory."""
    return 500 if isinstance(entry, Passed) else 1000 + _document_size(entry.after)
