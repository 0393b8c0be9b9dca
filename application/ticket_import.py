"""Importing a ticket history: every row becomes one command group, decided by the rules of a task.

Pure: rows come in, appends go out, ids are derived from what is imported. The same file, mapping and
workspace always give the same import, the same tasks and the same commands; that is what makes an import
repeatable.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

import msgspec

from application.ports import Append, IdempotencyKey, NewEvent
from application.ticket_mapping import Step, TicketMapping
from application.ticket_rows import Rejection, TicketRow
from domain.errors import DomainError
from domain.task import Task, decide, evolve
from domain.task_commands import AssignTask, CreateTask, LogActivity, SetPriority, TaskCommand
from domain.task_events import TaskEvent

ROWS_A_CHUNK: Final = 600
"""About a thousand events. Never changed for running imports: a chunk's number stands for its rows."""


class ImportSource(msgspec.Struct, frozen=True):
    """What is imported, by whom and into which workspace; every id of the import follows from it."""

    workspace_id: UUID
    owner_id: UUID
    mapping_name: str
    mapping_digest: bytes
    file_digest: bytes

    @property
    def import_id(self) -> UUID:
        """The import's id, the correlation id of all its events."""
        return uuid5(self.workspace_id, f"import {self.file_digest.hex()} {self.mapping_digest.hex()}")

    def task_id(self, case: str) -> UUID:
        """The task of a case: the same in every file that is imported with the mapping of this name."""
        return uuid5(uuid5(self.workspace_id, f"tickets {self.mapping_name}"), case)

    def principal_id(self, resource: str) -> UUID:
        """The placeholder member for a resource; the importing user stands in where a row names nobody."""
        return uuid5(self.workspace_id, resource) if resource else self.owner_id


class ImportedStream(msgspec.Struct, frozen=True, gc=False):
    """A case's task as far as it is decided. `foreign`: it was not created by this import."""

    task: Task | None = None
    version: int = 0
    foreign: bool = False


class DecidedRow(msgspec.Struct, frozen=True, gc=False):
    """A row and what it came to: an append, or None where its events are in the log already."""

    row: TicketRow
    append: Append | None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive rows that are appended together, all or none."""

    number: int
    rows: Sequence[TicketRow]
    decided: Sequence[DecidedRow]
    rejected: Sequence[Rejection]

    @property
    def appends(self) -> list[Append]:
        """What is to be appended, in order."""
        return [decided.append for decided in self.decided if decided.append]

    @property
    def activities(self) -> Counter[str]:
        """Accepted rows by activity."""
        return Counter(decided.row.activity for decided in self.decided)


_NEW: Final = ImportedStream()
_FOREIGN: Final = "the task exists already and was not created by this import"


class TicketHistory:
    """Decides rows in order, remembering every task as its own decisions leave it."""

    def __init__(self, source: ImportSource, mapping: TicketMapping) -> None:
        self._source = source
        self._mapping = mapping
        self._import_id = source.import_id
        self._columns = mapping.created_from
        self._streams: dict[str, ImportedStream] = {}
        self._task_ids: dict[str, UUID] = {}
        self._principals: dict[str, UUID] = {}
        self._assigning: dict[tuple[str, str], AssignTask] = {}
        self._recorded: set[UUID] = set()

    def task_id(self, case: str) -> UUID:
        """The id of the case's task."""
        known = self._task_ids.get(case)
        if known is None:
            known = self._task_ids[case] = self._source.task_id(case)
        return known

    def principal_id(self, resource: str) -> UUID:
        """The id of the member who stands for the resource."""
        known = self._principals.get(resource)
        if known is None:
            known = self._principals[resource] = self._source.principal_id(resource)
        return known

    def reload(self, streams: Mapping[str, ImportedStream], recorded: set[UUID]) -> None:
        """Take the named cases' tasks as the log has them, with the command ids that their events carry."""
        self._streams.update(streams)
        self._recorded |= recorded

    def decide_chunk(self, number: int, rows: Sequence[TicketRow]) -> Chunk:
        """Decide the rows; those that the rules refuse are rejected whole."""
        decided: list[DecidedRow] = []
        rejected: list[Rejection] = []
        for row in rows:
            try:
                decided.append(DecidedRow(row, self._decide_row(row)))
            except DomainError as refusal:
                rejected.append(Rejection(row.line, refusal.message))
        return Chunk(number, rows, decided, rejected)

    def _decide_row(self, row: TicketRow) -> Append | None:
        command_id = uuid5(self._import_id, str(row.line))
        if command_id in self._recorded:
            return None
        stream = self._streams.get(row.case, _NEW)
        if stream.foreign:
            raise DomainError("task_exists", _FOREIGN)
        task, events = self._events(stream.task, row)
        task_id = self.task_id(row.case)
        version = stream.version
        self._streams[row.case] = ImportedStream(task, version + len(events))
        return Append(
            self._source.workspace_id,
            self.principal_id(row.resource),
            command_id,
            self._import_id,
            None,
            tuple([NewEvent(task_id, version + n, event, row.at) for n, event in enumerate(events, 1)]),
            "",
        )

    def _events(self, task: Task | None, row: TicketRow) -> tuple[Task | None, list[TaskEvent]]:
        events: list[TaskEvent] = []
        for command in self._commands(row, new=task is None):
            for event in decide(task, command, row.at):
                task = evolve(task, event)
                events.append(event)
        if not events:
            # Dropping the step would falsify the history.
            events.extend(decide(task, LogActivity(activity=row.activity, reason=row.activity), row.at))
        return task, events

    def _commands(self, row: TicketRow, *, new: bool) -> Iterator[TaskCommand]:
        if new:
            yield self._creation(row)
        for step in self._mapping.activities[row.activity]:
            command = self._command(step, row)
            if command is not None:
                yield command

    def _command(self, step: Step, row: TicketRow) -> TaskCommand | None:
        if step == "assign":
            return self._assignment(row) if row.resource else None
        if step == "set_priority":
            return SetPriority(priority=row.priority, reason=row.activity) if row.priority else None
        return step

    def _assignment(self, row: TicketRow) -> AssignTask:
        key = (row.resource, row.activity)
        known = self._assigning.get(key)
        if known is None:
            known = AssignTask(assignee=self.principal_id(row.resource), reason=row.activity)
            self._assigning[key] = known
        return known

    def _creation(self, row: TicketRow) -> CreateTask:
        mapping = self._mapping
        value_of = dict(zip(self._columns, row.texts, strict=True))
        labels = [label.filled(value_of) for label in mapping.labels if not label.is_blank(value_of)]
        return CreateTask(
            title=mapping.title.filled(value_of),
            description=mapping.description.filled(value_of),
            priority=row.priority or "none",
            labels=tuple(dict.fromkeys(labels)),
            reason=row.activity,
        )


def chunks_of(rows: Sequence[TicketRow], size: int = ROWS_A_CHUNK) -> list[Sequence[TicketRow]]:
    """The rows in chunks, the same for the same file: no decision moves a border."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def chunk_key(import_id: UUID, number: int) -> str:
    """The idempotency key of a chunk."""
    return f"import:{import_id}:{number}"


def chunk_append(source: ImportSource, chunk: Chunk) -> Append:
    """The append without events that records, with the chunk's own, that the chunk is in the log."""
    import_id = source.import_id
    key = chunk_key(import_id, chunk.number)
    digest = sha256(key.encode() + msgspec.msgpack.encode(chunk.rows)).digest()
    return Append(
        source.workspace_id,
        source.owner_id,
        uuid5(import_id, key),
        import_id,
        None,
        (),
        f'{{"import_id":"{import_id}","chunk":{chunk.number},"position":',
        IdempotencyKey(key, digest),
    )
