"""A timeline entry: what one event of any stream tells those who follow or look back."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.structs import astuple

from domain.envelope import Erased, RecordedEvent
from projections.engine.changes import Change
from projections.engine.documents import Documents


class FieldChange(msgspec.Struct, frozen=True):
    """One field before and after an event."""

    field: str
    before: Any
    after: Any


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event: what happened (`type`), to which task or other stream, who did it, when, why, and what it changed.

    `recorded_at` is when the log took it, `effective_at` (imported history only) when it really happened. `attributes` is
    what else an imported history knew of the step, by name. `ordinal` counts the events of the workspace, 1, 2, 3, … without
    gaps: whoever has entries 1 to n has been left out of nothing. Where `erased`, what the event said is gone; that it happened
    stays.
    """

    position: int
    stream_id: UUID
    version: int
    type: str
    principal_id: UUID
    recorded_at: datetime
    effective_at: datetime | None
    reason: str | None
    attributes: dict[str, str]
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    hash: str
    changes: tuple[FieldChange, ...]
    erased: bool
    ordinal: int


def history_entry(change: Change[Any], kind: Documents[Any], ordinal: int) -> HistoryEntry:
    """The timeline entry of one change."""
    event = change.record.event
    before, after = kind.state(change.before) if change.before else None, kind.state(change.after)
    fields = kind.aggregate.fields
    return _entry(
        change.record,
        ordinal,
        getattr(event, "reason", None),
        getattr(event, "attributes", _NO_ATTRIBUTES),
        tuple([told for told in field_changes(before, after) if told.field in fields]),
    )


def plain_entry(record: RecordedEvent[Any], ordinal: int) -> HistoryEntry:
    """What an event's envelope says: everything but why, with which attributes, and what it changed."""
    return _entry(record, ordinal, None, _NO_ATTRIBUTES, ())


_NO_ATTRIBUTES: Final[dict[str, str]] = {}


def _entry(
    record: RecordedEvent[Any],
    ordinal: int,
    reason: str | None,
    attributes: dict[str, str],
    changes: tuple[FieldChange, ...],
) -> HistoryEntry:
    return HistoryEntry(
        position=record.position,
        stream_id=record.stream_id,
        version=record.version,
        type=topic_of(record.event),
        principal_id=record.principal_id,
        recorded_at=record.recorded_at,
        effective_at=record.effective_at,
        reason=reason,
        attributes=attributes,
        command_id=record.command_id,
        correlation_id=record.correlation_id,
        causation_id=record.causation_id,
        hash=record.hash.hex(),
        changes=changes,
        erased=isinstance(record.event, Erased),
        ordinal=ordinal,
    )


def topic_of(event: msgspec.Struct) -> str:
    """The type of an event, erased or not."""
    return event.topic if type(event) is Erased else _TAGS[type(event)]


class _Tags(dict[type[msgspec.Struct], str]):
    def __missing__(self, kind: type[msgspec.Struct]) -> str:
        tag = self[kind] = str(kind.__struct_config__.tag)
        return tag


_TAGS: Final = _Tags()


def field_changes(before: msgspec.Struct | None, after: msgspec.Struct) -> tuple[FieldChange, ...]:
    """The fields in which two states differ; for a new stream every field that says something, from null."""
    fields, values = after.__struct_fields__, astuple(after)
    if before is None:
        return tuple([FieldChange(field, None, new) for field, new in zip(fields, values, strict=True) if not _is_empty(new)])
    return tuple(
        [
            FieldChange(field, old, new)
            for field, old, new in zip(fields, astuple(before), values, strict=True)
            # What an event leaves as it is stays the same object.
            if old is not new and old != new
        ]
    )


def _is_empty(value: object) -> bool:
    # Not whatever counts as false: a number may well be 0.
    return value is None or value is False or value in ("", ())
