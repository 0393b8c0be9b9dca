"""The system stream: events of the log itself, hashed and positioned as all others are.

Its stream id is the log's id, and it belongs to no workspace and no principal. Its types begin with `log.`, which is no
aggregate, so projections pass over them as over everything that is not theirs.
"""

from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import psycopg

from infrastructure.log.append_function import Outcome, append_statement
from infrastructure.log.codec import FIRST_VERSION
from infrastructure.log.stored_appends import StoredAppend, StoredForm, stored_parameters
from infrastructure.servers.postgres import connect_sync, log_schema

NOBODY: Final = UUID(int=0)


class EpochBegan(msgspec.Struct, frozen=True, tag="log.epoch_began", tag_field="type"):
    """The log was restored, or took over from another server: what was appended after this place before is not part of it."""

    epoch: int


def say_epoch(database_url: str, log_name: str) -> None:
    """Say that the log's present epoch began, if it is not the first one and nothing was appended in it yet.

    A restore does, and every start: for an epoch that somebody raised by hand.
    """
    with connect_sync(database_url, log_schema(log_name), "taskmaster epoch") as connection:
        begin_epoch(connection, log_schema(log_name))


def begin_epoch(connection: psycopg.Connection[Any], schema: str) -> None:
    """See `say_epoch`."""
    row = connection.execute(
        "SELECT l.log_id, l.epoch, coalesce((SELECT max(originator_version) FROM events WHERE originator_id = l.log_id), 0), "
        "coalesce((SELECT epoch FROM events ORDER BY notification_id DESC LIMIT 1), 1) FROM log l"
    ).fetchone()
    assert row is not None  # noqa: S101 - a log has an identity
    log_id, epoch, version, newest = row
    if newest == epoch:
        return
    began = EpochBegan(epoch)
    command = uuid4()
    append = StoredAppend(
        workspace_id=NOBODY,
        principal_id=NOBODY,
        command_id=command,
        correlation_id=command,
        events=[StoredForm(log_id, version + 1, _topic(began), FIRST_VERSION, msgspec.json.encode(began))],
    )
    cursor = connection.cursor(binary=True)
    answer = cursor.execute(append_statement(schema), stored_parameters(append)).fetchone()
    assert answer is not None  # noqa: S101 - the function returns one row
    # Somebody else who appended meanwhile did so in this epoch, and may have said it.
    assert answer[0][0] in (Outcome.APPENDED, Outcome.CONFLICT)  # noqa: S101 - there is no key and no condition


def _topic(event: msgspec.Struct) -> str:
    return str(event.__struct_config__.tag)
