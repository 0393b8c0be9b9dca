"""From the cells of a ticket history to its rows in order of time, and what is wrong with the others."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import msgspec

from application.ticket_mapping import MappingError, TicketMapping
from domain.task_values import Priority

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Rows outside these are taken for mistakes: one wrong century would stretch every report over it."""

CASE_MAX_CHARACTERS: Final = 255
RESOURCE_MAX_CHARACTERS: Final = 200

Cells = tuple[int, Sequence[str]]
"""A line number (from 1, the header's) and the cells of the row that starts there."""


class TicketRow(msgspec.Struct, frozen=True, gc=False):
    """One accepted row: a step of a case. `at` is aware UTC, `resource` "" where nobody is named.

    `priority` is what the row's column says, None where it says nothing; `texts` are the values of the
    mapping's `created_from` columns.
    """

    line: int
    case: str
    activity: str
    at: datetime
    resource: str
    priority: Priority | None
    texts: tuple[str, ...]


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A row that is not imported: its line in the file, and why."""

    line: int
    reason: str


class RowReader:
    """Reads rows as a mapping says. Raises MappingError where the header has not each of its columns once."""

    def __init__(self, mapping: TicketMapping, header: Sequence[str]) -> None:
        names = [name.strip() for name in header]
        for column in mapping.named_columns:
            found = names.count(column)
            if found != 1:
                problem = "is not in the file" if not found else f"stands {found} times in the file"
                raise MappingError(f"columns: {column!r} {problem}; its columns are {', '.join(names)}")
        columns = mapping.columns
        self._mapping = mapping
        self._width = len(names)
        self._case = names.index(columns.case)
        self._activity = tuple(names.index(column) for column in columns.activity)
        self._time = names.index(columns.time)
        self._resource = names.index(columns.resource) if columns.resource else None
        self._priority = names.index(mapping.priority.column) if mapping.priority else None
        self._texts = tuple(names.index(column) for column in mapping.created_from)

    def rows(self, cells: Iterable[Cells]) -> tuple[list[TicketRow], list[Rejection]]:
        """The rows in order of time, those of one moment in the file's order; and what cannot be read."""
        rows: list[TicketRow] = []
        rejected: list[Rejection] = []
        for line, row in cells:
            try:
                rows.append(self._row(line, row))
            except ValueError as wrong:
                rejected.append(Rejection(line, str(wrong)))
        rows.sort(key=attrgetter("at"))
        return rows, rejected

    def _row(self, line: int, cells: Sequence[str]) -> TicketRow:
        if len(cells) != self._width:
            raise ValueError(f"{len(cells)} columns instead of {self._width}")
        case = _storable(cells[self._case].strip(), "case", CASE_MAX_CHARACTERS)
        if not case:
            raise ValueError("no case")
        resource = "" if self._resource is None else cells[self._resource].strip()
        return TicketRow(
            line,
            case,
            self._known_activity(cells),
            self._moment(cells[self._time].strip()),
            _storable(resource, "resource", RESOURCE_MAX_CHARACTERS),
            self._named_priority(cells),
            tuple([cells[index].strip() for index in self._texts]),
        )

    def _known_activity(self, cells: Sequence[str]) -> str:
        activity = "/".join([cells[index].strip() for index in self._activity])
        if activity not in self._mapping.activities:
            raise ValueError(f"unknown activity {activity!r}")
        return activity

    def _moment(self, text: str) -> datetime:
        if not text:
            raise ValueError("no time")
        try:
            at = self._mapping.moment(text)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is not a time as the mapping describes it") from None
        if not EARLIEST <= at < LATEST:
            raise ValueError(f"the time {text!r} is not between 1970 and 2100")
        return at

    def _named_priority(self, cells: Sequence[str]) -> Priority | None:
        if self._priority is None or self._mapping.priority is None:
            return None
        text = cells[self._priority].strip()
        if not text:
            return None
        priority = self._mapping.priority.values.get(text)
        if priority is None:
            raise ValueError(f"unknown priority {text!r}")
        return priority


def _storable(text: str, what: str, longest: int) -> str:
    """The text, if a name can be made of it: ids are derived from it before the domain sees any of it."""
    if len(text) > longest:
        raise ValueError(f"the {what} has more than {longest} characters")
    # Bytes that are no UTF-8 arrive as lone surrogates.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the {what} is not text in UTF-8") from None
    if "\0" in text:
        raise ValueError(f"the {what} holds the character U+0000")
    return text
