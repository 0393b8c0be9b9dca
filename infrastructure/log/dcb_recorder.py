"""The log as a recorder of the library's interface for dynamic consistency boundaries: `eventsourcing.dcb`.

An application of it works on a log with `PERSISTENCE_MODULE=infrastructure.log.dcb_recorder`. What it reads is the whole log:
events of ours have their wire tag as type, their stored state as data, and the tags of `domain/tags.py`, so that a decision of
the application may rest on ours. The condition of an append is looked at under the log's lock, in the append's transaction.

A condition on types alone is looked up for the application's own types only: the log keeps no event of ours by its type, and
reading through it would take as long as it is long, with everybody waiting. Erased events are passed over.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.dcb.persistence import DCBInfrastructureFactory, DCBListenNotifySubscription
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from eventsourcing.postgres import BasePostgresFactory, PostgresDatastore, PostgresRecorder, PostgresTrackingRecorder
from eventsourcing.utils import retry
from psycopg.sql import SQL, Composed, Identifier, Literal

from infrastructure.log.append_function import append_statement
from infrastructure.log.codec import FIRST_VERSION, is_foreign
from infrastructure.log.dcb_form import PREFIX, dcb_state, dcb_topic, read_state
from infrastructure.log.dcb_queries import PositionQueries, matches
from infrastructure.log.stored_appends import StoredAppend, StoredForm, stored_parameters
from infrastructure.log.tags import texts_of_stored

NOBODY: Final = UUID(int=0)
PAGE: Final = 1_000
POLL_SECONDS: Final = 1.0
"""The API does not tell the library's subscriptions of what it appends: so long a subscription sleeps at most."""

_LOCK: Final = SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))")
# An append that is repeated after a lost reply finds its own events, which may well match.
_FAIL: Final = SQL(
    "SELECT 1 / (CASE WHEN EXISTS ({}) AND NOT EXISTS (SELECT FROM {} WHERE originator_id = {}) THEN 0 ELSE 1 END)"
)


class LogDCBRecorder(DCBRecorder, PostgresRecorder):
    """`DCBRecorder` over one log. What it appends belongs to `workspace_id` and is done by `principal_id`."""

    def __init__(self, datastore: PostgresDatastore, *, workspace_id: UUID = NOBODY, principal_id: UUID = NOBODY) -> None:
        super().__init__(datastore)
        self.channel_name = "events"
        self._workspace_id = workspace_id
        self._principal_id = principal_id
        self._append = append_statement(datastore.schema)
        self._notify = SQL("NOTIFY {}").format(Identifier(self.channel_name))
        self._events = Identifier(datastore.schema, "events")
        self._queries = PositionQueries(datastore.schema)
        self._lock = _LOCK.format(Literal(f"taskmaster {datastore.schema}"))

    def create_table(self) -> None:
        """The migrations own the tables."""

    def read(self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None) -> "LogReadResponse":
        """The matching events after a position, in order. Without `limit` those up to the present head, read as they are asked
        for."""
        head = self._head()
        events = self._matching(query or DCBQuery(), after or 0, head, limit)
        if limit is None:
            return LogReadResponse(events, head or None)
        found = list(events)
        return LogReadResponse(iter(found), found[-1].position if found else None)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> "LogDCBSubscription":
        """See `DCBRecorder.subscribe`."""
        return LogDCBSubscription(self, query, after)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Append all, or none and raise IntegrityError where anything matches the condition; the position of the last."""
        if not events:
            raise ProgrammingError("there is nothing to append")
        forms = [
            StoredForm(uuid4(), 1, dcb_topic(event.type), FIRST_VERSION, dcb_state(event.data, event.tags)) for event in events
        ]
        # Made before the first attempt: an attempt repeated after a lost reply is recognised by them.
        command = uuid4()
        append = StoredAppend(
            workspace_id=self._workspace_id,
            principal_id=self._principal_id,
            command_id=command,
            correlation_id=command,
            events=forms,
        )
        guard = self._guard(condition, forms[0].stream_id) if condition else None
        position: int = self._append_once(append, guard)
        return position

    @retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
    def _append_once(self, append: StoredAppend, guard: Composed | None) -> int:
        parameters = stored_parameters(append)
        with self.datastore.get_connection() as connection:
            try:
                # Up to the end of the pipeline all is one transaction, and nobody waits for this process with the lock held.
                with connection.pipeline(), connection.cursor(binary=True) as cursor:
                    if guard:
                        connection.execute(self._lock)
                        connection.execute(guard)
                    cursor.execute(self._append, parameters, prepare=True)
                    row = cursor.fetchone()
            except psycopg.errors.DivisionByZero:
                raise IntegrityError("an event in the log matches the condition") from None
            assert row is not None  # noqa: S101 - the function returns one row
            connection.execute(self._notify)
        first: int = row["first_positions"][0]
        return first + len(append.events) - 1

    def _guard(self, condition: DCBAppendCondition, own: UUID) -> Composed:
        query, after = condition.fail_if_events_match, condition.after or 0
        for item in query.items:
            ours = [kind for kind in item.types if not item.tags and not is_foreign(kind)]
            if ours:
                raise ProgrammingError(f"a condition on the log's own type {ours[0]!r} needs a tag beside it")
        return _FAIL.format(self._queries.positions(query, after, by_topic=False), self._events, Literal(own))

    def _head(self) -> int:
        with self.datastore.get_connection() as connection:
            row = connection.execute(
                SQL("SELECT coalesce(max(notification_id), 0) AS head FROM {}").format(self._events)
            ).fetchone()
        return int(row["head"]) if row else 0

    def _matching(self, query: DCBQuery, after: int, head: int, limit: int | None) -> Iterator[DCBSequencedEvent]:
        left = head if limit is None else limit
        while left > 0 and after < head:
            rows = self._page(query, after, head)
            for row in rows:
                event = _event(row)
                if event is not None and matches(query, event):
                    yield DCBSequencedEvent(event, row["notification_id"])
                    left -= 1
                    if not left:
                        return
            after = rows[-1]["notification_id"] if len(rows) == PAGE else head

    def _page(self, query: DCBQuery, after: int, head: int) -> list[Any]:
        statement = SQL(
            "SELECT e.notification_id, e.topic, e.schema_version, e.state, e.originator_id, e.workspace_id FROM ("
            "SELECT DISTINCT position FROM ({}) m WHERE position <= {} ORDER BY position LIMIT {}) p "
            "JOIN {} e ON e.notification_id = p.position ORDER BY p.position"
        ).format(self._queries.positions(query, after, by_topic=True), head, PAGE, self._events)
        with self.datastore.get_connection() as connection, connection.cursor(binary=True) as cursor:
            return cursor.execute(statement).fetchall()


class LogReadResponse(DCBReadResponse):
    """Events, and the position up to which there are no others."""

    def __init__(self, events: Iterator[DCBSequencedEvent], head: int | None) -> None:
        self._events = events
        self._head = head

    @property
    def head(self) -> int | None:
        """The log's head when it was asked, or with a limit the position of the last event; None where there is none."""
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        return next(self._events)


class LogDCBSubscription(DCBListenNotifySubscription[LogDCBRecorder]):
    """Woken by what recorders append, and by itself for what others do."""

    def __init__(self, recorder: LogDCBRecorder, query: DCBQuery | None, after: int | None) -> None:
        super().__init__(recorder=recorder, query=query, after=after)
        self._listening = threading.Thread(target=self._listen, name="dcb subscription", daemon=True)
        self._listening.start()

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        super().__exit__(*args, **kwargs)
        self._listening.join()

    def _listen(self) -> None:
        recorder = self._recorder
        while not self._has_been_stopped and not self._thread_error:
            try:
                with recorder.datastore.get_connection() as connection:
                    connection.execute(SQL("LISTEN {}").format(Identifier(recorder.channel_name)))
                    while not self._has_been_stopped and not self._thread_error:
                        # What came before the first time that it listened as well, and what nobody tells it.
                        self._has_been_notified.set()
                        for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            except (InterfaceError, OperationalError):
                # Ends the wait between two attempts as well as the subscription.
                threading.Event().wait(POLL_SECONDS)


class LogDCBFactory(BasePostgresFactory[PostgresTrackingRecorder], DCBInfrastructureFactory[PostgresTrackingRecorder]):
    """Of an application's environment: `POSTGRES_SCHEMA` is the log's schema, `log_main` for the log `main`."""

    def dcb_recorder(self) -> LogDCBRecorder:
        """See `DCBInfrastructureFactory.dcb_recorder`."""
        return LogDCBRecorder(self.datastore)


def _event(row: Any) -> DCBEvent | None:
    topic, state = row["topic"], row["state"]
    if state is None:
        return None
    form = read_state(topic, state)
    if form is not None:
        return DCBEvent(topic.removeprefix(PREFIX), form.data, form.tags)
    tags = texts_of_stored(topic, row["schema_version"], state, row["originator_id"], row["workspace_id"])
    return DCBEvent(topic, state, list(tags))
