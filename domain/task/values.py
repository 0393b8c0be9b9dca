"""The values a task is made of, their bounds, and the one place that says which of them are accepted.

Each value has a type for command fields, whose `Meta` lets msgspec refuse the plain cases while decoding, and
an `accepted_…` function that returns it as it is stored or raises `InvalidValue`. The functions hold on their
own: a command need not have been decoded from anything.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar, get_args
from uuid import RFC_4122, UUID

from msgspec import Meta

from domain.errors import InvalidValue
from domain.text import line

TITLE_MAX_CHARACTERS: Final = 255
LABELS_MAX: Final = 50
LABEL_MAX_CHARACTERS: Final = 64
ASSIGNEES_MAX: Final = 20
ACTIVITY_MAX_CHARACTERS: Final = 255
ATTRIBUTES_MAX: Final = 20
ATTRIBUTE_NAME_MAX_CHARACTERS: Final = 64
ATTRIBUTE_MAX_CHARACTERS: Final = 1_000
ESTIMATE_MAX: Final = 1_000
DUE_AT_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
DUE_AT_HORIZON: Final = timedelta(days=36_525)

Priority = Literal["none", "low", "medium", "high", "urgent"]
Status = Literal["open", "in_progress", "completed", "cancelled"]

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_MAX_CHARACTERS)]
Label = Annotated[str, Meta(min_length=1, max_length=LABEL_MAX_CHARACTERS)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=LABELS_MAX)]
Assignees = Annotated[tuple[UUID, ...], Meta(max_length=ASSIGNEES_MAX)]
Activity = Annotated[str, Meta(min_length=1, max_length=ACTIVITY_MAX_CHARACTERS)]
DueAt = Annotated[datetime, Meta(tz=True)]
Estimate = Annotated[float, Meta(ge=0, le=ESTIMATE_MAX)]
# Said of what is asked for alone: whoever divides binary fractions finds 0.3 to be no multiple of 0.1.
GivenEstimate = Annotated[Estimate, Meta(extra_json_schema={"multipleOf": 0.1})]

T = TypeVar("T")

_UUID_VERSIONS = range(1, 9)
_PRIORITIES = frozenset(get_args(Priority))


def accepted_task_id(task_id: UUID) -> UUID:
    """An id that a client chose, if it is one that a client can have made: a UUID of RFC 9562, neither nil nor max."""
    if task_id.variant != RFC_4122 or task_id.version not in _UUID_VERSIONS:
        raise InvalidValue("task_id_invalid", "A task's id is a UUID of a version from 1 to 8 (RFC 9562).", "task_id")
    return task_id


def accepted_title(title: str) -> str:
    """The title without surrounding whitespace."""
    return line(title, "title", TITLE_MAX_CHARACTERS)


def accepted_activity(activity: str) -> str:
    """The activity without surrounding whitespace."""
    return line(activity, "activity", ACTIVITY_MAX_CHARACTERS)


def accepted_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes, names and values without surrounding whitespace; a blank value is none."""
    accepted: dict[str, str] = {}
    for name, value in attributes.items():
        if value.strip():
            kept = line(name, "attribute name", ATTRIBUTE_NAME_MAX_CHARACTERS)
            accepted[kept] = line(value, "attribute", ATTRIBUTE_MAX_CHARACTERS)
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


def accepted_estimate(estimate: float) -> float:
    """The estimate as the number nearest to its one decimal, so that equal ones have equal bytes; 2 and 2.0 are one, and so are
    0 and -0."""
    # NaN is in no range; true is a number to Python alone.
    if isinstance(estimate, bool) or not 0 <= estimate <= ESTIMATE_MAX:
        raise InvalidValue("estimate_out_of_range", f"An estimate is 0 to {ESTIMATE_MAX} points.", "estimate")
    # Of a number of tenths the quotient is the one that its decimal text is read as: both are rounded correctly, once.
    tenths = round(estimate * 10)
    if tenths / 10 != estimate:
        raise InvalidValue("estimate_too_fine", "An estimate has at most one decimal.", "estimate")
    return tenths / 10


def accepted_label(label: str, field: str = "label") -> str:
    """The label without surrounding whitespace; upper and lower case differ."""
    return line(label, field, LABEL_MAX_CHARACTERS)


def accepted_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels in the order given, each accepted and none twice."""
    _bounded(labels, "labels", LABELS_MAX)
    return _distinct(tuple(accepted_label(label, "labels") for label in labels), "labels")


def accepted_assignees(assignees: Sequence[UUID]) -> tuple[UUID, ...]:
    """The assignees in the order given, none twice."""
    _bounded(assignees, "assignees", ASSIGNEES_MAX)
    return _distinct(tuple(assignees), "assignees")


def _bounded(items: Sequence[object], field: str, most: int) -> None:
    if len(items) > most:
        raise InvalidValue("too_many_items", f"A task may have {most} {field}.", field)


def _distinct(items: tuple[T, ...], field: str) -> tuple[T, ...]:
    if len(set(items)) < len(items):
        raise InvalidValue("repeated_item", f"The {field} name one twice.", field)
    return items
