"""Reading recorded events: one list of columns, one way to turn a row into a RecordedEvent."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from domain.envelope import RecordedEvent
from infrastructure.log.codec import decode, is_foreign
from projections.engine.changes import ForeignEvent

Record = RecordedEvent[Any]
"""An event of whichever aggregate; `domain.aggregates` lists them."""

COLUMNS: LiteralString = (
    "notification_id, originator_id, originator_version, recorded_at, effective_at, workspace_id, principal_id, "
    "command_id, correlation_id, causation_id, hash, topic, schema_version, state"
)


def recorded_event(row: Sequence[Any]) -> Record:
    """The event in a row of COLUMNS; raises UnknownEventType."""
    return RecordedEvent(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        decode(row[11], row[12], row[13]),
        row[10],
    )


def any_event(row: Sequence[Any]) -> Record | ForeignEvent:
    """The event in a row of COLUMNS, whoever's it is; raises UnknownEventType for one of ours."""
    if is_foreign(row[11]):
        return ForeignEvent(row[0], row[1], row[2], row[11], row[10])
    return recorded_event(row)


def own_events(rows: Iterable[Sequence[Any]]) -> list[Record]:
    """Our events among rows of COLUMNS; raises UnknownEventType."""
    return [recorded_event(row) for row in rows if not is_foreign(row[11])]


OF_STREAM: LiteralString = (
    f"SELECT {COLUMNS} FROM events WHERE originator_id = %s AND originator_version > %s AND originator_version <= %s "
    "ORDER BY originator_version"
)

AFTER_POSITION: LiteralString = f"SELECT {COLUMNS} FROM events WHERE notification_id > %s ORDER BY notification_id LIMIT %s"

HEAD: LiteralString = "SELECT coalesce(max(notification_id), 0) FROM events"
"""The newest position, 0 for an empty log."""
