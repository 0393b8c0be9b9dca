"""From the cells of a ticket history to its rows in order of time, and what is wrong with the others."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from application.importing.csv_files import Cells
from application.importing.mapping import MappingError, TicketMapping
from application.importing.text import shown
from application.importing.times import EARLIEST, LEEWAY, Readings, in_order_of_time
from domain.errors import DomainError
from domain.task.values import Priority, accepted_attributes
from domain.text import line

CASE_MAX_CHARACTERS: Final = 255
RESOURCE_MAX_CHARACTERS: Final = 200
MOST_COLUMNS_TOLD: Final = 40


class TicketValues(msgspec.Struct, frozen=True):
    """What a row says of its ticket as a whole: "" and None where it says nothing. One label a template of the mapping."""

    title: str
    description: str
    priority: Priority | None
    labels: tuple[str, ...]


class TicketRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One accepted row: a step of a case. `at` is aware UTC, `resource` "" where nobody is named.

    `other` is the other moment that the row's time may mean, where clocks showed it twice.
    """

    line: int
    case: str
    activity: str
    at: datetime
    resource: str
    values: TicketValues
    attributes: dict[str, str]
    other: datetime | None = None


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A row that is not imported: its line in the file, the column to blame ("" where none is), and why."""

    line: int
    column: str
    reason: str


class _Wrong(ValueError):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


class RowReader:
    """Reads rows as a mapping says; what happened after `now` (and some minutes) is refused.

    Raises MappingError where the header has not each of its columns once.
    """

    def __init__(self, mapping: TicketMapping, header: Sequence[str], now: datetime) -> None:
        names = [_text(name) for name in header]
        index = {name: _index(names, name) for name in mapping.named_columns}
        columns = mapping.columns
        self.notices: list[Rejection] = []
        """What was read but looks wrong."""
        self._names = names
        self._mapping = mapping
        self._latest = now + LEEWAY
        self._case = index[columns.case]
        self._activity = tuple(index[column] for column in columns.activity)
        self._time = index[columns.time]
        self._resource = index[columns.resource] if columns.resource else None
        self._priority = index[mapping.priority.column] if mapping.priority else None
        self._filled_from = {column: index[column] for column in mapping.filled_from}
        self._attribute_columns = {name: index[column] for name, column in mapping.attributes.items()}
        # Most rows of a ticket say the same of it.
        self._values: dict[tuple[str, ...], TicketValues] = {}
        self._attributes: dict[tuple[str, ...], dict[str, str]] = {}

    def rows(self, cells: Iterable[Cells]) -> tuple[list[TicketRow], list[Rejection]]:
        """The rows in order of time, those of one moment in the file's order; and what cannot be read."""
        rows: list[TicketRow] = []
        rejected: list[Rejection] = []
        self.notices = []
        for number, row in cells:
            try:
                rows.append(self._row(number, row))
            except _Wrong as wrong:
                rejected.append(Rejection(number, wrong.column, str(wrong)))
            self._note_rows_inside(number, row)
        return in_order_of_time(rows), rejected

    def _row(self, number: int, cells: Sequence[str]) -> TicketRow:
        columns = self._mapping.columns
        case = _named(_text(cells[self._case]), columns.case, "ticket", CASE_MAX_CHARACTERS)
        first, second = self._readings(cells)
        resource = "" if self._resource is None else _text(cells[self._resource])
        return TicketRow(
            line=number,
            case=case,
            activity=self._known_activity(cells),
            at=first,
            resource=_named(resource, columns.resource, "resource", RESOURCE_MAX_CHARACTERS) if resource else "",
            values=self._ticket_values(cells),
            attributes=self._row_attributes(cells),
            other=None if second == first else second,
        )

    def _note_rows_inside(self, number: int, cells: Sequence[str]) -> None:
        """Two stray quotes may make one field of what were several rows, and the text is well-formed."""
        for index, cell in enumerate(cells):
            if "\n" not in cell and "\r" not in cell:
                continue
            for inner in cell.splitlines()[1:]:
                inside = inner.split(self._mapping.delimiter)
                if len(inside) > max(self._time, *self._activity) and self._reads_as_row(inside):
                    reason = f"a line inside this field reads as a row of its own, {shown(inner)}: are its quotes right?"
                    self.notices.append(Rejection(number, self._names[index], reason))
                    break

    def _reads_as_row(self, cells: Sequence[str]) -> bool:
        try:
            return bool(self._known_activity(cells) and self._readings(cells))
        except _Wrong:
            return False

    def _known_activity(self, cells: Sequence[str]) -> str:
        activity = "/".join([_text(cells[index]) for index in self._activity])
        if activity not in self._mapping.activities:
            raise _Wrong("/".join(self._mapping.columns.activity), f"unknown activity {shown(activity)}")
        return activity

    def _readings(self, cells: Sequence[str]) -> Readings:
        column, text = self._mapping.columns.time, _text(cells[self._time])
        if not text:
            raise _Wrong(column, "no time")
        try:
            readings = self._mapping.readings(text)
        except ValueError as error:
            raise _Wrong(column, str(error)) from None
        if readings[0] < EARLIEST:
            raise _Wrong(column, f"the time {shown(text)} is before {EARLIEST.year}")
        if readings[0] > self._latest:
            raise _Wrong(column, f"the time {shown(text)} lies in the future")
        return readings

    def _ticket_values(self, cells: Sequence[str]) -> TicketValues:
        said = tuple([_text(cells[index]) for index in self._filled_from.values()])
        priority = "" if self._priority is None else _text(cells[self._priority])
        known = self._values.get((*said, priority))
        if known is None:
            known = self._values[(*said, priority)] = self._made_of(said, priority)
        return known

    def _made_of(self, said: Sequence[str], priority: str) -> TicketValues:
        mapping = self._mapping
        value_of: Mapping[str, str] = dict(zip(self._filled_from, said, strict=True))
        named: Priority | None = None
        if mapping.priority and priority:
            named = mapping.priority.values.get(priority)
            if named is None:
                raise _Wrong(
                    mapping.priority.column,
                    f"unknown priority {shown(priority)}; the mapping knows {', '.join(map(shown, mapping.priority.values))}",
                )
        return TicketValues(
            mapping.title.filled(value_of),
            mapping.description.filled(value_of),
            named,
            tuple(label.filled(value_of).strip() for label in mapping.labels),
        )

    def _row_attributes(self, cells: Sequence[str]) -> dict[str, str]:
        given = tuple([cells[index] for index in self._attribute_columns.values()])
        known = self._attributes.get(given)
        if known is None:
            texts = map(_text, given)
            known = {}
            for name, text in zip(self._attribute_columns, texts, strict=True):
                try:
                    known |= accepted_attributes({name: text})
                except DomainError as refusal:
                    raise _Wrong(self._mapping.attributes[name], refusal.message) from None
            self._attributes[given] = known
        return known


def _index(names: Sequence[str], column: str) -> int:
    found = names.count(column)
    if found == 1:
        return names.index(column)
    told = ", ".join(map(shown, names[:MOST_COLUMNS_TOLD])) + (", …" if len(names) > MOST_COLUMNS_TOLD else "")
    problem = f"stands {found} times in the file" if found else "is not in the file"
    other = next((each for each in ";\t|," if len(names) == 1 and each in names[0]), None)
    hint = f"; is its delimiter {shown(other)}?" if other else ""
    raise MappingError(f"columns: {shown(column)} {problem}; its columns are {told}{hint}")


def _text(cell: str) -> str:
    """The cell without surrounding whitespace, in one Unicode form: in another export the same text may have another."""
    return cell.strip() if cell.isascii() else unicodedata.normalize("NFC", cell.strip())


def _named(text: str, column: str, what: str, longest: int) -> str:
    """The text, if a name can be made of it: ids are derived from it, and people see it, before the domain does."""
    try:
        return line(text, what, longest)
    except DomainError as refusal:
        raise _Wrong(column, refusal.message) from None
