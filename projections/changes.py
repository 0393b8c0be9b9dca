"""From recorded events to changes: each event with the task before and after it, read once and shared by all projections."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from projections.task_document import TaskDocument, TaskRecord, fold

KEPT_DOCUMENTS = 20_000
KEPT_CHANGES = 6_000


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event and what it did: the task before it (None for the first) and after it."""

    record: TaskRecord
    before: TaskDocument | None
    after: TaskDocument


class LogIdentity(msgspec.Struct, frozen=True):
    """Which log this is: its id, and an epoch that a restore or failover increments."""

    log_id: UUID
    epoch: int


class LogSource(Protocol):
    """The log as the read side sees it. Implementations are used by one thread at a time."""

    def events_after(self, position: int, limit: int) -> list[TaskRecord]:
        """Up to `limit` events after `position`, in order; raises for an event type that is unknown here."""

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
    may be another one. Safe to call from several threads.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._documents: OrderedDict[UUID, TaskDocument] = OrderedDict()
        self._recent: list[Change] = []

    def after(self, position: int, limit: int) -> list[Change]:
        """Up to `limit` changes directly after `position`, in order, without gaps."""
        with self._lock:
            recent = self._recent
            if recent and recent[0].record.position <= position + 1 <= recent[-1].record.position:
                start = position + 1 - recent[0].record.position
                return recent[start : start + limit]
            changes = self._read(position, limit)
            if recent and changes and recent[-1].record.position + 1 == changes[0].record.position:
                recent.extend(changes)
                del recent[: max(0, len(recent) - KEPT_CHANGES)]
            elif changes:
                self._recent = changes
            return list(changes)

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

    def _read(self, position: int, limit: int) -> list[Change]:
        try:
            return self._fold(self._source.events_after(position, limit))
        except Exception:
            self._drop()
            raise

    def _fold(self, records: Sequence[TaskRecord]) -> list[Change]:
        documents = self._documents
        self._recover(records)
        changes = []
        for record in records:
            before = documents.get(record.stream_id) if record.version > 1 else None
            after = fold(before, record)
            documents[record.stream_id] = after
            changes.append(Change(record, before, after))
        while len(documents) > KEPT_DOCUMENTS:
            documents.popitem(last=False)
        return changes

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
            self._documents.update(self._source.documents_at(wanted))
