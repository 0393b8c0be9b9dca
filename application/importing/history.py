"""Importing a ticket history: every row becomes one command group, decided by the rules of a task.

Pure: rows and what the log has of their tickets come in, appends go out. A row is known by its ticket and content, whatever
file it came from, so that an export that has grown adds exactly its new rows, in this order of cases:

- A row that the log has is passed over.
- A row whose step the log has, with other values of the ticket, is a correction: of its values those that no later row says
  something else of are applied, and the step is not done again.
- A row that happened before the newest imported step of its ticket comes too late to change anything: it is recorded as a step
  that changes nothing, at its own time.
- Any other row is carried out.
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.importing.ids import ImportSource
from application.importing.mapping import TicketMapping
from application.importing.people import People
from application.importing.recognition import Recognition, RecordedStep
from application.importing.rows import Rejection, TicketRow, TicketValues
from application.importing.steps import Confirm, Step
from application.log import Append, Condition, NewEvent
from domain.boundaries import Seen
from domain.errors import DomainError
from domain.project.boundaries import Openness, open_tag, require_open
from domain.task.aggregate import TASK
from domain.task.commands import (
    AddLabel,
    AssignTask,
    CreateTask,
    DescribeTask,
    LogActivity,
    ReassignTask,
    RemoveLabel,
    RenameTask,
    SetPriority,
    TaskCommand,
)
from domain.task.events import TaskEvent
from domain.task.rules import Task, decide, evolve

ROWS_A_CHUNK: Final = 600
"""About a thousand events, one transaction."""


class ImportedStream(msgspec.Struct, frozen=True, gc=False):
    """A case's task as far as it is decided. `newest` is when its newest imported step happened."""

    task: Task | None = None
    version: int = 0
    newest: datetime | None = None


class DecidedRow(msgspec.Struct, frozen=True, gc=False):
    """A row and what it came to: an append, or None where there is nothing (more) to record of it."""

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
_NOT_THERE: Final = Seen(Openness(), 0)
"""Of a first project that nothing has made yet: a rehearsal leaves it so."""


class TicketHistory:
    """Decides a file's rows in order, remembering every task as its own decisions leave it."""

    def __init__(
        self,
        source: ImportSource,
        people: People,
        mapping: TicketMapping,
        rows: Sequence[TicketRow],
        *,
        is_rehearsal: bool = False,
    ) -> None:
        self._is_rehearsal = is_rehearsal
        self._source = source
        self._people = people
        self._mapping = mapping
        self._import_id = source.import_id
        self._known = Recognition(source, people, rows)
        self._streams: dict[str, ImportedStream] = {}
        self._refused: set[int] = set()
        self._refused_by_rules: dict[str, dict[int, DomainError]] = {}
        self._task_ids: dict[str, UUID] = {}
        self._openness: dict[UUID, Seen[Openness]] = {}
        self._rested: set[UUID] = set()

    def task_id(self, case: str) -> UUID:
        """The id of the case's task."""
        known = self._task_ids.get(case)
        if known is None:
            known = self._task_ids[case] = self._source.task_id(case)
        return known

    def reload(self, streams: Mapping[str, ImportedStream], recorded: Mapping[str, Sequence[RecordedStep]]) -> None:
        """Take the named cases' tasks as the log has them, with what was imported of them."""
        self._streams.update(streams)
        for case in streams:
            self._known.learn(case, recorded.get(case, ()))

    @property
    def projects(self) -> set[UUID]:
        """Those that the tasks belong to, the import's own among them."""
        known = {stream.task.project_id for stream in self._streams.values() if stream.task and stream.task.project_id}
        return {self._source.project_id, *known}

    def learn_openness(self, found: Mapping[UUID, Seen[Openness]]) -> None:
        """Take whether projects take commands for their tasks as the log has it."""
        self._openness.update(found)

    def decide_chunk(self, number: int, rows: Sequence[TicketRow]) -> Chunk:
        """Decide the rows; those that the rules refuse are rejected whole."""
        self._rested = set()
        decided: list[DecidedRow] = []
        rejected: list[Rejection] = []
        for row in rows:
            try:
                decided.append(DecidedRow(row, self._decide_row(row)))
                self._refused.discard(row.line)
            except DomainError as refusal:
                self._refused.add(row.line)
                rejected.append(Rejection(row.line, "", refusal.message))
        return Chunk(number, rows, decided, rejected)

    def _decide_row(self, row: TicketRow) -> Append | None:
        if self._known.is_recorded(row):
            return None
        stream = self._streams.get(row.case, _NEW)
        corrected = self._known.corrected(row)
        commands: Iterator[TaskCommand | Confirm]
        if corrected is not None:
            left = self._known.last_word(row)
            commands = self._changes(row, left, None, stream.task) if stream.task else iter(())
        elif stream.newest is not None and row.at < stream.newest:
            self._require_accepted_in_its_place(row)
            commands = iter((LogActivity(activity=row.activity, reason=row.activity),))
        else:
            commands = self._commands(row, stream.task, self._refused)
        task, events = self._events(stream.task, row, commands, logged=corrected is None)
        if not events:
            return None
        conditions = self._open_projects(task)
        task_id, version = self.task_id(row.case), stream.version
        newest = row.at if stream.newest is None else max(row.at, stream.newest)
        self._streams[row.case] = ImportedStream(task, version + len(events), newest)
        return Append(
            workspace_id=self._source.workspace_id,
            principal_id=self._people.id_of(row.resource),
            command_id=self._known.command_id(row),
            correlation_id=self._import_id,
            causation_id=corrected,
            events=tuple(
                [NewEvent(task_id, version + n, event, row.at, TASK.scope(event)) for n, event in enumerate(events, 1)]
            ),
            receipt_start="{",
            conditions=conditions,
        )

    def _open_projects(self, task: Task | None) -> tuple[Condition, ...]:
        """That the task's project takes commands, which the first append of a chunk proves for all of it: they share a
        transaction, and none of them changes that. Raises the refusal where it takes none."""
        project_id = task.project_id if task else None
        if project_id is None:
            return ()
        seen = self._openness[project_id]
        if not (self._is_rehearsal and seen == _NOT_THERE):
            require_open(seen.state)
        if project_id in self._rested:
            return ()
        self._rested.add(project_id)
        return (Condition(open_tag(self._source.workspace_id, project_id), seen.at),)

    def _require_accepted_in_its_place(self, row: TicketRow) -> None:
        """Raise the refusal of a row that the rules refuse where it stands in the file: being late does not make it right."""
        refused = self._refused_by_rules.get(row.case)
        if refused is None:
            refused = self._refused_by_rules[row.case] = {}
            task: Task | None = None
            for each in self._known.rows_of(row.case):
                try:
                    task, _ = self._events(task, each, self._commands(each, task, refused), logged=True)
                except DomainError as refusal:
                    refused[each.line] = refusal
        if row.line in refused:
            raise refused[row.line]

    def _events(
        self, task: Task | None, row: TicketRow, commands: Iterator[TaskCommand | Confirm], *, logged: bool
    ) -> tuple[Task | None, list[TaskEvent]]:
        events: list[TaskEvent] = []
        for command in commands:
            parts = command.commands(task.status if task else "open") if isinstance(command, Confirm) else (command,)
            for part in parts:
                for event in decide(task, part, row.at):
                    told = replace(event, attributes=row.attributes) if row.attributes else event
                    task = evolve(task, told)
                    events.append(told)
        if not events and logged:
            # Dropping the step would falsify the history.
            log = iter((LogActivity(activity=row.activity, reason=row.activity),))
            return self._events(task, row, log, logged=False)
        return task, events

    def _commands(self, row: TicketRow, task: Task | None, refused: Container[int]) -> Iterator[TaskCommand | Confirm]:
        if task is None:
            yield _creation(row, self._source.project_id)
        else:
            before = self._known.before(row)
            said = None if before is None or before.line in refused else self._known.said_up_to(before)
            if said is not row.values:
                yield from self._changes(row, row.values, said, task)
        for step in self._mapping.activities[row.activity]:
            yield from self._commands_of(step, row)

    def _commands_of(self, step: Step, row: TicketRow) -> Iterator[TaskCommand | Confirm]:
        match step:
            case "assign":
                if row.resource:
                    yield AssignTask(assignee=self._people.id_of(row.resource), reason=row.activity)
            case "reassign":
                if row.resource:
                    yield ReassignTask(assignee=self._people.id_of(row.resource), reason=row.activity)
            case "set_priority":
                if row.values.priority:
                    yield SetPriority(priority=row.values.priority, reason=row.activity)
            case _:
                yield step

    def _changes(self, row: TicketRow, new: TicketValues, said: TicketValues | None, task: Task) -> Iterator[TaskCommand]:
        """What the ticket's columns say now and did not say before; where that is unknown, other than the task has it."""
        why = row.activity
        if new.title and (said is None or new.title != said.title):
            yield RenameTask(new.title, reason=why)
        if new.description and (said is None or new.description != said.description):
            yield DescribeTask(new.description, reason=why)
        if new.priority and (said is None or new.priority != said.priority):
            yield SetPriority(new.priority, reason=why)
        for number, label in enumerate(new.labels):
            if not label or (said is not None and said.labels[number] == label):
                continue
            made = self._mapping.labels[number].may_have_made
            for old in (said.labels[number],) if said is not None else filter(made, task.labels):
                if old and old not in new.labels:
                    yield RemoveLabel(old, reason=why)
            yield AddLabel(label, reason=why)


def _creation(row: TicketRow, project_id: UUID) -> CreateTask:
    values = row.values
    return CreateTask(
        title=values.title,
        description=values.description,
        priority=values.priority or "none",
        labels=tuple(dict.fromkeys(label for label in values.labels if label)),
        reason=row.activity,
        project_id=project_id,
    )


def chunks_of(rows: Sequence[TicketRow], size: int = ROWS_A_CHUNK) -> list[Sequence[TicketRow]]:
    """The rows in chunks."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
