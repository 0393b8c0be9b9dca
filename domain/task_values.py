"""The values a task is made of, their bounds, and the one place that says which of them are accepted.

Each value has a type for command fields, whose `Meta` lets msgspec refuse the plain cases while decoding, and
an `accepted_…` function that returns it as it is stored or raises `InvalidValue`. The functions hold on their
own: a command need not have been decoded from anything.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar, get_args
from uuid import UUID

from msgspec import Meta

from domain.errors import InvalidValue

TITLE_MAX_CHARACTERS: Final = 255
DESCRIPTION_MAX_BYTES: Final = 65_536
LABELS_MAX: Final = 50
LABEL_MAX_CHARACTERS: Final = 64
ASSIGNEES_MAX: Final = 20
REASON_MAX_CHARACTERS: Final = 1_000
ACTIVITY_MAX_CHARACTERS: Final = 255
ATTRIBUTES_MAX: Final = 20
ATTRIBUTE_NAME_MAX_CHARACTERS: Final = 64
ATTRIBUTE_MAX_CHARACTERS: Final = 1_000
DUE_AT_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
DUE_AT_HORIZON: Final = timedelta(days=36_525)

Priority = Literal["none", "low", "medium", "high", "urgent"]
Status = Literal["open", "in_progress", "completed", "cancelled"]

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_MAX_CHARACTERS)]
# A character takes at least one byte, so the byte bound is also a true bound on characters.
Description = Annotated[str, Meta(max_length=DESCRIPTION_MAX_BYTES)]
Label = Annotated[str, Meta(min_length=1, max_length=LABEL_MAX_CHARACTERS)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=LABELS_MAX)]
Assignees = Annotated[tuple[UUID, ...], Meta(max_length=ASSIGNEES_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX_CHARACTERS)]
Activity = Annotated[str, Meta(min_length=1, max_length=ACTIVITY_MAX_CHARACTERS)]
DueAt = Annotated[datetime, Meta(tz=True)]

T = TypeVar("T")

_PRIORITIES = frozenset(get_args(Priority))
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def accepted_title(title: str) -> str:
    """The title without surrounding whitespace."""
    return _line(title, "title", TITLE_MAX_CHARACTERS)


def accepted_activity(activity: str) -> str:
    """The activity without surrounding whitespace."""
    return _line(activity, "activity", ACTIVITY_MAX_CHARACTERS)


def accepted_description(description: str) -> str:
    """The description as it came: its whitespace may be meant."""
    if _storable_bytes(description, "description") > DESCRIPTION_MAX_BYTES:
        raise InvalidValue("text_too_long", f"The description may take {DESCRIPTION_MAX_BYTES} bytes.", "description")
    return description


def accepted_reason(reason: str | None) -> str | None:
    """The reason without surrounding whitespace; a blank one is none."""
    if reason is None:
        return None
    return _line(reason, "reason", REASON_MAX_CHARACTERS) if reason.strip() else None


def accepted_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes, names and values without surrounding whitespace; a blank value is none."""
    accepted: dict[str, str] = {}
    for name, value in attributes.items():
        if value.strip():
            kept = _line(name, "attribute name", ATTRIBUTE_NAME_MAX_CHARACTERS)
            accepted[kept] = _line(value, "attribute", ATTRIBUTE_MAX_CHARACTERS)
    if len(accepted) > ATTRIBUTES_MAX:
        raise InvalidValue("too_many_items", f"An event may have {ATTRIBUTES_MAX} attributes.", "attributes")
    return accepted


def accepted_priority(priority: Priority) -> Priority:
    """The priority, if it is one."""
    if priority not in _PRIORITIES:
        raise InvalidValue("unknown_priority", "There is no such priority.", "priority")
    return priority


def accepted_due_at(due_at: datetime, now: datetime) -> datetime:
    """The same moment in UTC."""
    if due_at.utcoffset() is None:
        raise InvalidValue("due_at_without_timezone", "A due date needs a time zone.", "due_at")
    # The range comes first: close to the ends of the calendar the conversion itself overflows.
    if not DUE_AT_EARLIEST <= due_at <= now + DUE_AT_HORIZON:
        raise InvalidValue("due_at_out_of_range", "A due date lies between 1970 and 100 years from now.", "due_at")
    return due_at.astimezone(UTC)


def accepted_label(label: str, field: str = "label") -> str:
    """The label without surrounding whitespace; upper and lower case differ."""
    accepted = _line(label, field, LABEL_MAX_CHARACTERS)
    if _CONTROL_CHARACTER.search(accepted):
        raise InvalidValue("control_character", "A label may not hold control characters.", field)
    return accepted


def accepted_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels in the order given, each accepted and none twice."""
    _bounded(labels, "labels", LABELS_MAX)
    return _distinct(tuple(accepted_label(label, "labels") for label in labels), "labels")


def accepted_assignees(assignees: Sequence[UUID]) -> tuple[UUID, ...]:
    """The assignees in the order given, none twice."""
    _bounded(assignees, "assignees", ASSIGNEES_MAX)
    return _distinct(tuple(assignees), "assignees")


def _line(text: str, field: str, longest: int) -> str:
    stripped = text.strip()
    if not stripped:
        raise InvalidValue("text_empty", f"The {field} may not be blank.", field)
    if len(stripped) > longest:
        raise InvalidValue("text_too_long", f"The {field} may have {longest} characters.", field)
    _storable_bytes(stripped, field)
    return stripped


def _storable_bytes(text: str, field: str) -> int:
    # PostgreSQL stores no U+0000, UTF-8 no lone surrogate: what one projection cannot store is not recorded.
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidValue("text_not_storable", f"The {field} holds a lone surrogate.", field) from None
    if "\0" in text:
        raise InvalidValue("text_not_storable", f"The {field} holds the character U+0000.", field)
    return size


def _bounded(items: Sequence[object], field: str, most: int) -> None:
    if len(items) > most:
        raise InvalidValue("too_many_items", f"A task may have {most} {field}.", field)


def _distinct(items: tuple[T, ...], field: str) -> tuple[T, ...]:
    if len(set(items)) < len(items):
        raise InvalidValue("repeated_item", f"The {field} name one twice.", field)
    return items
