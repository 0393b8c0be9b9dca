"""What a ticket system's columns and activities mean here: the mapping file, read and checked.

A mapping is a small TOML file (two ship with the program, in `infrastructure/ticket_mappings`):

    name = "helpdesk"                          # part of the imported tasks' ids
    title = "{Case ID}"                        # templates: a column's name in braces is its value
    labels = ["product:{product}"]             # left out where all their columns are blank

    [columns]
    case = "Case ID"
    activity = ["Activity"]                    # several columns are joined by "/"
    time = "Complete Timestamp"
    resource = "Resource"                      # optional: without it every step is the importing user's

    [time]
    format = "%Y/%m/%d %H:%M:%S.%f"            # as in strptime; "iso" by default
    timezone = "Europe/Rome"                   # of times that name none; UTC by default

    [priority]
    column = "seriousness"
    values = { "1" = "low", "2" = "high" }     # a blank cell says nothing, any other value is refused

    [activities]
    "Closed" = ["reopen", "complete", { remove_label = "waiting" }]
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from domain.errors import DomainError
from domain.task_commands import (
    AddLabel,
    CancelTask,
    CompleteTask,
    LogActivity,
    RemoveLabel,
    ReopenTask,
    StartTask,
    TaskCommand,
)
from domain.task_values import Priority, accepted_activity, accepted_label

Text = Annotated[str, Meta(min_length=1)]
RowStep = Literal["assign", "set_priority"]
"""Steps whose command depends on the row: assign to its resource, set the priority it names."""

Step = TaskCommand | RowStep


class MappingError(Exception):
    """The mapping cannot be used; the message names the field and what is wrong with it."""


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of the columns that every history has."""

    case: Text
    activity: Annotated[tuple[Text, ...], Meta(min_length=1)]
    time: Text
    resource: str = ""


class TimeFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How times are written, and the IANA zone of those that name none."""

    format: Text = "iso"
    timezone: Text = "UTC"


class PriorityColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column that tells a ticket's priority, and what its values mean."""

    column: Text
    values: dict[str, Priority]


class Template:
    """Text with columns' names in braces."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"\{([^{}]*)\}", text)
        self._literals = parts[::2]
        self.columns = tuple(parts[1::2])

    def filled(self, value_of: Mapping[str, str]) -> str:
        """The text with every column's value in its place."""
        values = [value_of[column] for column in self.columns]
        return "".join(f"{before}{value}" for before, value in zip(self._literals, [*values, ""], strict=True))

    def is_blank(self, value_of: Mapping[str, str]) -> bool:
        """Whether it names columns and all of them are blank."""
        return bool(self.columns) and not any(value_of[column] for column in self.columns)


class TicketMapping(msgspec.Struct, frozen=True):
    """A checked mapping: what each activity does, and `digest`, the SHA-256 of the file it came from."""

    name: str
    columns: Columns
    delimiter: str
    moment: Callable[[str], datetime]
    title: Template
    description: Template
    labels: tuple[Template, ...]
    priority: PriorityColumn | None
    activities: Mapping[str, tuple[Step, ...]]
    digest: bytes

    @property
    def created_from(self) -> tuple[str, ...]:
        """The columns that the templates of a new task name, each once."""
        templates = (self.title, self.description, *self.labels)
        return tuple(dict.fromkeys(column for template in templates for column in template.columns))

    @property
    def named_columns(self) -> tuple[str, ...]:
        """Every column that the mapping names, each once."""
        own = (self.columns.case, *self.columns.activity, self.columns.time, self.columns.resource)
        priority = (self.priority.column,) if self.priority else ()
        return tuple(name for name in dict.fromkeys((*own, *priority, *self.created_from)) if name)


class _LabelStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    add_label: str | None = None
    remove_label: str | None = None


_Word = Literal["start", "complete", "reopen", "cancel", "log_activity", "assign", "set_priority"]


class _MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]
    columns: Columns
    # Checked one by one below: an error shall name the activity, not only say that one of them is wrong.
    activities: dict[str, Any]
    title: Text
    description: str = ""
    labels: tuple[Text, ...] = ()
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    time: TimeFormat = TimeFormat()
    priority: PriorityColumn | None = None


_PLAIN: Final[Mapping[str, Callable[[str], TaskCommand]]] = {
    "start": lambda activity: StartTask(reason=activity),
    "complete": lambda activity: CompleteTask(reason=activity),
    "reopen": lambda activity: ReopenTask(reason=activity),
    "cancel": lambda activity: CancelTask(reason=activity),
    "log_activity": lambda activity: LogActivity(activity=activity, reason=activity),
}


def read_mapping(content: bytes) -> TicketMapping:
    """The mapping in a TOML file's content; raises MappingError."""
    try:
        file = msgspec.convert(tomllib.loads(content.decode()), _MappingFile)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"the mapping is not valid: {error}") from None
    activities = {activity.strip(): _steps(activity, given) for activity, given in file.activities.items()}
    if not activities:
        raise MappingError("activities: no activity is mapped")
    if file.priority is None and any("set_priority" in steps for steps in activities.values()):
        raise MappingError("priority: an activity sets the priority, but no column tells it")
    if not file.columns.resource and any("assign" in steps for steps in activities.values()):
        raise MappingError("columns.resource: an activity assigns, but no column tells to whom")
    return TicketMapping(
        file.name,
        file.columns,
        file.delimiter,
        _moment_reader(file.time),
        Template(file.title),
        Template(file.description),
        tuple(Template(label) for label in file.labels),
        file.priority,
        activities,
        sha256(content).digest(),
    )


def _steps(activity: str, given: Any) -> tuple[Step, ...]:
    field = f"activities.{activity!r}"
    try:
        name = accepted_activity(activity)
        words = msgspec.convert(given, tuple[_Word | _LabelStep, ...])
        return tuple(_step(name, word) for word in words)
    except (msgspec.ValidationError, DomainError, ValueError) as error:
        raise MappingError(f"{field}: {error}") from None


def _step(activity: str, word: _Word | _LabelStep) -> Step:
    if isinstance(word, _LabelStep):
        if (word.add_label is None) == (word.remove_label is None):
            raise ValueError("a step is either add_label or remove_label")
        if word.add_label is not None:
            return AddLabel(label=accepted_label(word.add_label), reason=activity)
        return RemoveLabel(label=accepted_label(word.remove_label or ""), reason=activity)
    return word if word in ("assign", "set_priority") else _PLAIN[word](activity)


def _moment_reader(time: TimeFormat) -> Callable[[str], datetime]:
    try:
        zone = UTC if time.timezone == "UTC" else ZoneInfo(time.timezone)
    except (OSError, ValueError, KeyError):
        raise MappingError(f"time.timezone: there is no time zone {time.timezone!r}") from None
    form = time.format

    def moment(text: str) -> datetime:
        at = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)

    return moment
