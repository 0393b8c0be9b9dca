"""Which of a file's rows the log has already, whatever file they came from, and what a file says of its tickets row by row."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.importing.ids import ImportSource
from application.importing.people import People
from application.importing.rows import TicketRow, TicketValues

Step = tuple[str, datetime, UUID]
"""What a row did, apart from what it says of its ticket: the activity, when, and by whom."""


class RecordedStep(msgspec.Struct, frozen=True, gc=False):
    """An imported command in the log. One that `corrects` another one's values has done no step."""

    command_id: UUID
    step: Step
    corrects: bool


class Recognition:
    """Knows a row by its ticket and content; of the log it knows what it was told of each case."""

    def __init__(self, source: ImportSource, people: People, rows: Sequence[TicketRow]) -> None:
        self._source = source
        self._people = people
        self._cases: dict[str, list[TicketRow]] = defaultdict(list)
        self._before: dict[int, TicketRow] = {}
        self._said: dict[int, TicketValues] = {}
        self._ids: dict[int, UUID] = {}
        # Of rows whose time existed twice, by the reading that was not taken: another order may have told it otherwise.
        self._other_ids: dict[int, UUID] = {}
        self._recorded: set[int] = set()
        self._corrections: dict[int, UUID] = {}
        self._last_said: dict[str, dict[str, int]] = {}
        for row in rows:
            self._place(row)
        for case in self._cases.values():
            self._identify(case)

    def learn(self, case: str, steps: Sequence[RecordedStep]) -> None:
        """Take what the log has of a case, instead of what it was told before."""
        rows = self._cases[case]
        recorded = {step.command_id for step in steps}
        for row in rows:
            self._corrections.pop(row.line, None)
            if self._ids[row.line] in recorded or self._other_ids.get(row.line) in recorded:
                self._recorded.add(row.line)
            else:
                self._recorded.discard(row.line)
        unknown = [row for row in rows if row.line not in self._recorded]
        if steps and unknown:
            self._find_corrections(rows, unknown, steps, recorded)

    def is_recorded(self, row: TicketRow) -> bool:
        """Whether the log has this very row."""
        return row.line in self._recorded

    def corrected(self, row: TicketRow) -> UUID | None:
        """The command in the log that did the row's step with other values of the ticket; None where the step is new."""
        return self._corrections.get(row.line)

    def command_id(self, row: TicketRow) -> UUID:
        """The command that the row is."""
        return self._ids[row.line]

    def rows_of(self, case: str) -> Sequence[TicketRow]:
        """The case's rows, in order."""
        return self._cases[case]

    def before(self, row: TicketRow) -> TicketRow | None:
        """The row before it in its case."""
        return self._before.get(row.line)

    def said_up_to(self, row: TicketRow) -> TicketValues:
        """What the case's rows up to and with this one say of the ticket: blanks say nothing."""
        return self._said[row.line]

    def last_word(self, row: TicketRow) -> TicketValues:
        """Of what the row says of its ticket, that of which no later row of the file says anything."""
        if row.case not in self._last_said:
            self._last_said[row.case] = {
                place: each.line for each in self._cases[row.case] for place, said in _places(each.values) if said
            }
        own = {place for place, line in self._last_said[row.case].items() if line == row.line}
        said = row.values
        return TicketValues(
            said.title if "title" in own else "",
            said.description if "description" in own else "",
            said.priority if "priority" in own else None,
            tuple(label if f"label {number}" in own else "" for number, label in enumerate(said.labels)),
        )

    def _place(self, row: TicketRow) -> None:
        case, values = self._cases[row.case], row.values
        if case:
            self._before[row.line] = case[-1]
            said = self._said[case[-1].line]
            if said is not values:
                values = _said_after(said, values)
        self._said[row.line] = values
        case.append(row)

    def _identify(self, case: Sequence[TicketRow]) -> None:
        seen: Counter[UUID] = Counter()
        for row in case:
            first = self._source.row_id(row, 1)
            seen[first] += 1
            self._ids[row.line] = first if seen[first] == 1 else self._source.row_id(row, seen[first])
            if row.other is not None:
                self._other_ids[row.line] = self._source.row_id(replace(row, at=row.other), seen[first])

    def _find_corrections(
        self, rows: Sequence[TicketRow], unknown: Sequence[TicketRow], steps: Sequence[RecordedStep], recorded: set[UUID]
    ) -> None:
        # Steps of the log that no row of the file has the very content of.
        unclaimed: dict[Step, list[UUID]] = defaultdict(list)
        for step in steps:
            if not step.corrects:
                unclaimed[step.step].append(step.command_id)
        for row in rows:
            if row.line in self._recorded:
                at = row.at if self._ids[row.line] in recorded else row.other
                claimed = unclaimed[row.activity, at or row.at, self._people.id_of(row.resource)]
                if claimed:
                    claimed.pop()
        for row in unknown:
            left = unclaimed[row.activity, row.at, self._people.id_of(row.resource)]
            if left:
                self._corrections[row.line] = left.pop()


def _places(values: TicketValues) -> Iterator[tuple[str, str]]:
    yield "title", values.title
    yield "description", values.description
    yield "priority", values.priority or ""
    yield from ((f"label {number}", label) for number, label in enumerate(values.labels))


def _said_after(said: TicketValues, new: TicketValues) -> TicketValues:
    if new.title and new.description and new.priority and all(new.labels):
        return new
    return TicketValues(
        new.title or said.title,
        new.description or said.description,
        new.priority or said.priority,
        tuple(label or old for label, old in zip(new.labels, said.labels, strict=True)),
    )
