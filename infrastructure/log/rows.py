"""Reading recorded events: one list of columns, one way to turn a row into a RecordedEvent."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from domain.envelope import RecordedEvent
from infrastructure.log.codec import decode, erased, is_foreign
from infrastructure.log.system_stream import PAYLOADS_ERASED, erased_streams
from projections.engine.changes import ForeignEvent, StreamsErased

Record = RecordedEvent[Any]
"""An event of whichever aggregate; `domain.aggregates` lists them."""

COLUMNS: LiteralString = (
    "notification_id, originator_id, originator_version, recorded_at, effective_at, workspace_id, principal_id, "
    "command_id, correlation_id, causation_id, hash, topic, schema_version, state, epoch, authority, scope, number"
)


def recorded_event(row: Sequence[Any]) -> Record:
    """The event in a row of COLUMNS; raises UnknownEventType."""
    topic, state = row[11], row[13]
    return RecordedEvent(
        position=row[0],
        stream_id=row[1],
        version=row[2],
        recorded_at=row[3],
        effective_at=row[4],
        workspace_id=row[5],
        principal_id=row[6],
        command_id=row[7],
        correlation_id=row[8],
        causation_id=row[9],
        hash=row[10],
        event=decode(topic, row[12], state) if state is not None else erased(topic, row[16]),
        epoch=row[14],
        authority=row[15],
        scope=row[16],
        number=row[17],
    )


def any_event(row: Sequence[Any]) -> Record | ForeignEvent:
    """The event in a row of COLUMNS, whoever's it is; raises UnknownEventType for one of ours."""
    if row[11] == PAYLOADS_ERASED and row[13] is not None:
        return StreamsErased(row[0], row[1], row[2], row[11], row[10], erased_streams(row[12], row[13]))
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
