"""A mapping file, read and checked. It is a small TOML file (three ship with the program):

    name = "helpdesk"                          # part of the imported tasks' ids
    encoding = "utf-8"                         # of the history; utf-8 by default
    delimiter = ","
    title = "{Case ID}"                        # templates: a column's name in braces is its value
    description = ""
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

    [attributes]
    team = "workgroup"                         # kept with every event of the row

    [activities]
    "Closed" = ["confirm", { remove_label = "waiting" }]

Title, description, labels and priority are taken from every row: a value that changes becomes its event, a blank one says
nothing. `ticket_steps` has the steps.
"""

import codecs
import tomllib
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta

from application.importing.mapping import Columns, MappingError, PriorityColumn, Template, Text, TicketMapping
from application.importing.steps import Step, read_steps
from application.importing.text import printable, shown
from application.importing.times import check_format, time_reader, time_zone
from domain.errors import DomainError
from domain.task.values import Priority, accepted_activity, accepted_attributes

ENCODINGS: Final = (
    "utf-8", "utf-16", "utf-32", "ascii", "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-9",
    "iso-8859-15", "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255",
    "windows-1256", "windows-1257", "mac-roman", "cp437", "cp850", "cp852", "koi8-r", "koi8-u", "shift_jis", "cp932",
    "euc-jp", "gb18030", "big5", "euc-kr",
)  # fmt: skip
"""Python's names; any other name that Python has for one of them is taken as well."""


class _Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Text = "iso"
    timezone: Text = "UTC"


class _Priority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    column: Text
    # Checked one by one below, as the activities are: an error shall name the value, and what is allowed.
    values: dict[str, Any]


class _MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]
    columns: Columns
    activities: dict[str, Any]
    title: Text
    description: str = ""
    labels: tuple[Text, ...] = ()
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    time: _Time = _Time()
    priority: _Priority | None = None
    attributes: dict[str, Text] = {}


_TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {"columns": Columns, "time": _Time, "priority": _Priority}


def read_mapping(content: bytes) -> TicketMapping:
    """The mapping in a TOML file's content; raises MappingError."""
    file = _file(content)
    activities = _activities(file.activities)
    used = {step for steps in activities.values() for step in steps if isinstance(step, str)}
    if file.priority is None and "set_priority" in used:
        raise MappingError("priority: an activity sets the priority, but no column tells it")
    if not file.columns.resource and used & {"assign", "reassign"}:
        raise MappingError("columns.resource: an activity assigns, but no column tells to whom")
    if file.delimiter in '"\r\n\0':
        raise MappingError(f"delimiter: {shown(file.delimiter)} cannot separate columns; it is a character as , or ; or \\t")
    try:
        check_format(file.time.format)
    except ValueError as error:
        raise MappingError(f"time.format: {error}") from None
    try:
        zone = time_zone(file.time.timezone)
    except ValueError as error:
        raise MappingError(f"time.timezone: {error}") from None
    return TicketMapping(
        name=file.name,
        columns=file.columns,
        delimiter=file.delimiter,
        encoding=_encoding(file.encoding),
        readings=time_reader(file.time.format, zone),
        time_format=file.time.format,
        timezone=file.time.timezone,
        title=_template("title", file.title),
        description=_template("description", file.description),
        labels=tuple(_template("labels", label) for label in file.labels),
        priority=_priority(file.priority) if file.priority else None,
        attributes=_attributes(file.attributes),
        activities=activities,
    )


def _file(content: bytes) -> _MappingFile:
    try:
        # In one Unicode form, as the file's cells will be.
        raw = tomllib.loads(unicodedata.normalize("NFC", content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise MappingError("the mapping is not text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of more digits than Python reads is a plain ValueError
        raise MappingError(printable(f"the mapping is not valid TOML: {error}")) from None
    _known_fields(raw, _MappingFile, "a mapping")
    for name, table in _TABLES.items():
        _known_fields(raw.get(name), table, name)
    try:
        return msgspec.convert(raw, _MappingFile)
    except msgspec.ValidationError as error:
        raise MappingError(printable(f"the mapping is not valid: {error}")) from None


def _known_fields(raw: Any, struct: type[msgspec.Struct], where: str) -> None:
    allowed = struct.__struct_fields__
    for name in raw if isinstance(raw, dict) else ():
        if name not in allowed:
            raise MappingError(f"{shown(name)} is no field of {where}; its fields are {', '.join(allowed)}")


def _activities(given: Mapping[str, Any]) -> dict[str, tuple[Step, ...]]:
    activities: dict[str, tuple[Step, ...]] = {}
    for activity, steps in given.items():
        try:
            name = accepted_activity(activity)
            if name in activities:
                raise ValueError("stands twice")
            activities[name] = read_steps(name, steps)
        except DomainError as refusal:
            raise MappingError(f"activities.{shown(activity)}: {refusal.message}") from None
        except ValueError as error:
            raise MappingError(f"activities.{shown(activity)}: {error}") from None
    if not activities:
        raise MappingError("activities: no activity is mapped")
    return activities


def _priority(given: _Priority) -> PriorityColumn:
    values: dict[str, Priority] = {}
    for value, priority in given.values.items():
        if priority not in get_args(Priority):
            raise MappingError(
                f"priority.values.{shown(value)}: {shown(str(priority))} is no priority; "
                f"the priorities are {', '.join(get_args(Priority))}"
            )
        values[value.strip()] = priority
    return PriorityColumn(given.column, values)


def _attributes(given: Mapping[str, str]) -> dict[str, str]:
    try:
        accepted_attributes(dict.fromkeys(given, "any"))
    except DomainError as refusal:
        raise MappingError(f"attributes: {refusal.message}") from None
    return {name.strip(): column for name, column in given.items()}


def _template(field: str, text: str) -> Template:
    try:
        return Template(text)
    except ValueError as error:
        raise MappingError(f"{field}: {error}") from None


def _encoding(name: str) -> str:
    known = {codecs.lookup(each).name for each in ENCODINGS}
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if found == "utf-8-sig":
        return "utf-8"
    if found not in known:
        raise MappingError(f"encoding: {shown(name)} is none of those that are read: {', '.join(ENCODINGS)}")
    return found
