"""The log as a recorder of the `eventsourcing` library: its applications can read and append to it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.utils import retry
from psycopg.sql import SQL, Identifier

from infrastructure.log.append_function import Outcome, append_statement
from infrastructure.log.codec import FIRST_VERSION
from infrastructure.log.stored_appends import StoredAppend, StoredForm, stored_parameters

NOBODY = UUID(int=0)
"""Workspace and principal of events that an application of the library appends without naming them."""


class LogRecorder(PostgresApplicationRecorder):
    """`PostgresApplicationRecorder` over the table `events` and the function `append_events` of one log.

    Keyword arguments of `insert_events`: workspace_id, principal_id, correlation_id, causation_id (UUIDs), authority (a
    position); all optional.
    The table is made by the migrations, so `create_table` does nothing.
    """

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "events") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self._append = append_statement(datastore.schema)
        self._notify = SQL("NOTIFY {}").format(Identifier(self.channel_name))

    def create_table(self) -> None:
        """The migrations own the table."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append all or none; returns their positions.

        Raises IntegrityError where a version is taken or would leave a gap.
        """
        if not stored_events:
            return []
        # Made before the first attempt: an attempt repeated after a lost reply is recognised by it.
        positions: Sequence[int] = self._append_once(list(stored_events), uuid4(), kwargs)
        return positions

    @retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
    def _append_once(self, events: list[StoredEvent], command_id: UUID, envelope: dict[str, Any]) -> Sequence[int]:
        append = StoredAppend(
            workspace_id=envelope.get("workspace_id", NOBODY),
            principal_id=envelope.get("principal_id", NOBODY),
            command_id=command_id,
            correlation_id=envelope.get("correlation_id", command_id),
            causation_id=envelope.get("causation_id"),
            authority=envelope.get("authority", 0),
            events=[
                StoredForm(_uuid(event.originator_id), event.originator_version, event.topic, FIRST_VERSION, event.state)
                for event in events
            ],
        )
        parameters = stored_parameters(append)
        with self.datastore.get_connection() as connection:
            with connection.cursor(binary=True) as cursor:
                cursor.execute(self._append, parameters, prepare=True)
                row = cursor.fetchone()
            assert row is not None  # noqa: S101 - the function returns one row
            if row["outcomes"][0] == Outcome.CONFLICT:
                raise IntegrityError("a stream was not at the version before the appended events")
            # For the library's subscriptions. After the commit, because within the transaction it would take
            # a lock of the whole instance.
            connection.execute(self._notify)
            first: int = row["first_positions"][0]
            return list(range(first, first + len(events)))


def _uuid(originator_id: UUID | str) -> UUID:
    return originator_id if isinstance(originator_id, UUID) else UUID(originator_id)
