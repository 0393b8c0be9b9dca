"""Known faults of releases that stand side by side; see `sabotage`."""

import json
from collections.abc import Callable
from typing import Any

import infrastructure.log.rows
import infrastructure.read_models.hot_keys
import infrastructure.servers.postgres
import infrastructure.servers.redis_client
import workers.projector
from domain.envelope import Erased
from infrastructure.log.codec import Codec, UnknownEventType
from infrastructure.log.rows import COLUMNS, recorded_event
from projections.engine.changes import Change
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Hold
from projections.engine.projector import Projector

ONE_NAME = "00000000"


def _one_name_for_all_layouts() -> None:
    """Read models of whatever layout stand under one name."""
    for module in (
        infrastructure.servers.postgres,
        infrastructure.servers.redis_client,
        infrastructure.read_models.hot_keys,
        workers.projector,
    ):
        module.layouts_id = lambda: ONE_NAME


def _the_unknown_is_parked() -> None:
    """What this release cannot read is taken for poison."""

    def park(self: Projector, group: list[Checkpoint], hold: Hold) -> None:
        for checkpoint in group:
            connection: Any = self._store._connection.get()
            query = f"SELECT {COLUMNS} FROM events WHERE notification_id = %s".encode()
            row = list(connection.cursor(binary=True).execute(query, (checkpoint.position + 1,)).fetchone())
            topic, row[11], row[12], row[13] = row[11], "task.started", 1, b'{"type":"task.started"}'
            record = recorded_event(row)
            self._park(checkpoint, Change(record, None, Erased(topic), "task"), str(hold))

    Projector._hold = park


def _strangers_hold() -> None:
    """Somebody else's event is taken for one of ours."""
    infrastructure.log.rows.is_foreign = lambda _: False


def _strict_fields() -> None:
    """A field of an event that this release does not know is one thing too many."""
    decode = Codec.decode

    def strictly(self: Codec, topic: str, schema_version: int, state: bytes) -> Any:
        event = decode(self, topic, schema_version, state)
        if unknown := set(json.loads(state)) - {"type", *event.__struct_fields__}:
            raise UnknownEventType(f"an event {topic!r} has fields {unknown}")
        return event

    Codec.decode = strictly


SKEW_SABOTAGE: dict[str, Callable[[], None]] = {
    "one name for all layouts": _one_name_for_all_layouts,
    "aggregates are no layout": _one_name_for_all_layouts,
    "the unknown is parked": _the_unknown_is_parked,
    "strangers hold": _strangers_hold,
    "strict fields": _strict_fields,
}
