"""The system stream: events of the log itself, hashed and positioned as all others are.

Its stream id is the log's id, and it belongs to no workspace and no principal. Its types begin with `log.`, which is no
aggregate, so projections pass over them as over everything that is not theirs; but where payloads were erased, they redact.
"""

from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import psycopg

from infrastructure.log.append_function import Outcome, append_statement
from infrastructure.log.codec import FIRST_VERSION, UnknownEventType
from infrastructure.log.stored_appends import StoredAppend, StoredForm, stored_parameters
from infrastructure.servers.postgres import connect_sync, log_schema

NOBODY: Final = UUID(int=0)


class EpochBegan(msgspec.Struct, frozen=True, tag="log.epoch_began", tag_field="type"):
    """The log was restored, or took over from another server: what was appended after this place before is not part of it."""

    epoch: int


class PayloadsErased(msgspec.Struct, frozen=True, tag="log.payloads_erased", tag_field="type"):
    """The payloads of all events of these streams before this place were erased."""

    streams: tuple[UUID, ...]


PAYLOADS_ERASED: Final = str(PayloadsErased.__struct_config__.tag)

LAST_ERASURE: Final = (
    "SELECT coalesce((SELECT o.notification_id FROM events o WHERE o.originator_id = (SELECT log_id FROM log) "
    f"AND o.topic = '{PAYLOADS_ERASED}' ORDER BY o.originator_version DESC LIMIT 1), 0)"
)
"""The newest position at which payloads were erased, 0 for none; along the log's own stream, of which every reading asks."""


def say_epoch(database_url: str, log_name: str) -> None:
    """Say that the log's present epoch began, if it is not the first one and nothing was appended in it yet.

    A restore does, and every start: for an epoch that somebody raised by hand.
    """
    with connect_sync(database_url, log_schema(log_name), "taskmaster epoch") as connection:
        begin_epoch(connection, log_schema(log_name))


def begin_epoch(connection: psycopg.Connection[Any], schema: str) -> None:
    """See `say_epoch`."""
    row = connection.execute(
        "SELECT l.epoch, coalesce((SELECT epoch FROM events ORDER BY notification_id DESC LIMIT 1), 1) FROM log l"
    ).fetchone()
    assert row is not None  # noqa: S101 - a log has an identity
    epoch, newest = row
    if newest == epoch:
        return
    # Somebody else who appended meanwhile did so in this epoch, and may have said it.
    append_own(connection, schema, EpochBegan(epoch))


def append_own(connection: psycopg.Connection[Any], schema: str, event: msgspec.Struct) -> int | None:
    """Append an event of the log itself; its position, None where somebody else was faster to append one."""
    row = connection.execute(
        "SELECT l.log_id, coalesce((SELECT max(originator_version) FROM events WHERE originator_id = l.log_id), 0) FROM log l"
    ).fetchone()
    assert row is not None  # noqa: S101 - a log has an identity
    log_id, version = row
    command = uuid4()
    append = StoredAppend(
        workspace_id=NOBODY,
        principal_id=NOBODY,
        command_id=command,
        correlation_id=command,
        events=[StoredForm(log_id, version + 1, _topic(event), FIRST_VERSION, msgspec.json.encode(event))],
    )
    cursor = connection.cursor(binary=True)
    answer = cursor.execute(append_statement(schema), stored_parameters(append)).fetchone()
    assert answer is not None  # noqa: S101 - the function returns one row
    assert answer[0][0] in (Outcome.APPENDED, Outcome.CONFLICT)  # noqa: S101 - there is no key and no condition
    return int(answer[1][0]) if answer[0][0] == Outcome.APPENDED else None


def erased_streams(schema_version: int, state: bytes) -> tuple[UUID, ...]:
    """What a stored PayloadsErased names; raises UnknownEventType for a form from the future."""
    try:
        if schema_version == FIRST_VERSION:
            return msgspec.json.decode(state, type=PayloadsErased).streams
    except msgspec.DecodeError:
        pass
    raise UnknownEventType(f"an event {PAYLOADS_ERASED!r} has a form that this release does not know")


def _topic(event: msgspec.Struct) -> str:
    return str(event.__struct_config__.tag)
