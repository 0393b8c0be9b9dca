"""Our log passes the eventsourcing library's own suites; its applications and ours read each other's events.

Of the suites in `eventsourcing.tests.persistence` these are run: ApplicationRecorderTestCase with the
optional subscription test, and NonInterleavingNotificationIDsBaseCase. The others do not fit a log:

- AggregateRecorderTestCase expects `insert_events` to return None, as only recorders without positions do;
  what else it checks is checked by the application suite.
- TrackingRecorderTestCase and ProcessRecorderTestCase are about the library's tracking tables; checkpoints
  here are another thing.
- InfrastructureFactoryTestCase asks a factory for all four kinds of recorders; here is only one.
- The mapper, transcoder, cipher and compressor suites never reach a recorder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import InfrastructureFactory, IntegrityError, Mapper, StoredEvent
from eventsourcing.postgres import PostgresFactory
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict

from domain.task.events import TaskCreated, TaskEvent, TaskRenamed
from domain.task.rules import Task
from infrastructure.log.codec import FIRST_VERSION, decode, encode
from infrastructure.log.library_recorder import LogRecorder
from infrastructure.log.source import PostgresLogSource
from projections.task.snapshots import TASK_DOCUMENTS
from tests.infrastructure.log_under_test import (
    SCHEMA,
    an_append,
    append,
    created,
    log_connection,
    recorder_on,
    renamed,
    stored,
    versions,
)


@pytest.fixture
def recorder(database_url: str) -> Iterator[LogRecorder]:
    with recorder_on(database_url) as opened:
        yield opened


class _OnOurLog:
    """unittest classes take no fixtures as arguments; an autouse one hands the recorder over."""

    @pytest.fixture(autouse=True)
    def _recorder_of_the_test(self, recorder: LogRecorder) -> None:
        self._recorder = recorder

    def create_recorder(self) -> LogRecorder:
        return self._recorder


class TestApplicationRecorder(_OnOurLog, ApplicationRecorderTestCase[LogRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleavingPositions(_OnOurLog, NonInterleavingNotificationIDsBaseCase): ...


# The suites are here to be subclassed, not to be collected.
del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase


def an_event(stream: UUID, version: int) -> StoredEvent:
    return StoredEvent(stream, version, "topic", b"{}")


class TestInsertEvents:
    def test_a_taken_version_is_an_integrity_error_and_nothing_is_stored(self, recorder: LogRecorder) -> None:
        stream = uuid4()
        recorder.insert_events([an_event(stream, 1)])
        with pytest.raises(IntegrityError):
            recorder.insert_events([an_event(stream, 2), an_event(stream, 1)])
        assert len(recorder.select_events(stream)) == 1

    def test_a_gap_is_an_integrity_error(self, recorder: LogRecorder) -> None:
        with pytest.raises(IntegrityError):
            recorder.insert_events([an_event(uuid4(), 2)])

    def test_nothing_to_insert_is_no_error(self, recorder: LogRecorder) -> None:
        assert recorder.insert_events([]) == []

    def test_the_envelope_comes_from_the_keyword_arguments(self, recorder: LogRecorder, database_url: str) -> None:
        envelope = {name: uuid4() for name in ("workspace_id", "principal_id", "correlation_id", "causation_id")}
        recorder.insert_events([an_event(uuid4(), 1)], **envelope)
        with log_connection(database_url) as connection:
            (row,) = stored(connection)
        assert {name: getattr(row, name) for name in envelope} == envelope


class LogFactory(PostgresFactory):
    """The library's factory with our recorder, over the table that the migrations made."""

    def application_recorder(self) -> LogRecorder:
        return LogRecorder(self.datastore)


class OnOurLog(Application[UUID]):
    """Any application of the library becomes one on our log by this method."""

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        return LogFactory(env)


def opened(kind: type[OnOurLog], database_url: str) -> OnOurLog:
    given = conninfo_to_dict(database_url)
    return kind(
        {
            "POSTGRES_DBNAME": str(given["dbname"]),
            "POSTGRES_HOST": str(given["host"]),
            "POSTGRES_PORT": str(given["port"]),
            "POSTGRES_USER": str(given["user"]),
            "POSTGRES_PASSWORD": "",
            "POSTGRES_SCHEMA": SCHEMA,
        }
    )


class Dog(Aggregate):
    """An aggregate as the library's documentation has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


@dataclass(frozen=True)
class TaskHappened:
    """One of our events as the library wants it: with its place in the stream."""

    originator_id: UUID
    originator_version: int
    happened: TaskEvent


class TaskMapper(Mapper[UUID]):
    """Our payloads in our own stored form, where the library's mapper would write its own."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        payload = encode(domain_event.happened, domain_event.originator_id)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, payload.topic, payload.state)

    def to_domain_event(self, stored_event: StoredEvent) -> TaskHappened:
        event = decode(stored_event.topic, FIRST_VERSION, stored_event.state)
        assert isinstance(stored_event.originator_id, UUID)
        return TaskHappened(stored_event.originator_id, stored_event.originator_version, event)


class Tasks(OnOurLog):
    """An application of the library that works on our tasks."""

    def construct_mapper(self) -> TaskMapper:
        return TaskMapper(self.construct_transcoder())


class TestApplicationsOfTheLibrary:
    def test_an_application_saves_and_finds_its_aggregates(self, database_url: str) -> None:
        with opened(OnOurLog, database_url) as kennel:
            dog = Dog("Fido")
            dog.add_trick("roll over")
            kennel.save(dog)
            dog.add_trick("play dead")
            kennel.save(dog)
        with opened(OnOurLog, database_url) as another:
            found: Dog = another.repository.get(dog.id)
            assert (found.name, found.tricks) == ("Fido", ["roll over", "play dead"])
            assert [n.id for n in another.notification_log.select(1, 10)] == [1, 2, 3]

    def test_a_stale_aggregate_is_refused(self, database_url: str) -> None:
        with opened(OnOurLog, database_url) as kennel:
            dog = Dog("Fido")
            kennel.save(dog)
            stale: Dog = kennel.repository.get(dog.id)
            dog.add_trick("roll over")
            kennel.save(dog)
            stale.add_trick("play dead")
            with pytest.raises(IntegrityError):
                kennel.save(stale)

    def test_our_reader_reads_what_an_application_appended(self, database_url: str) -> None:
        task = uuid4()
        with opened(Tasks, database_url) as tasks:
            tasks.save(TaskHappened(task, 1, TaskCreated("Ship it")), TaskHappened(task, 2, TaskRenamed("Sail it")))
        source = PostgresLogSource(database_url, "main")
        try:
            first, second = source.events_after(0, 10)
            document = source.documents_at(TASK_DOCUMENTS, {task: 2})[task]
        finally:
            source.close()
        assert (first.event, second.event) == (TaskCreated("Ship it"), TaskRenamed("Sail it"))
        assert (first.position, second.position) == (1, 2)
        assert document.task == Task(title="Sail it")

    def test_an_application_reads_what_we_appended_and_goes_on_with_it(self, database_url: str) -> None:
        task = uuid4()
        with log_connection(database_url) as log:
            append(log, an_append(created(task), renamed(task, 2)))
            with opened(Tasks, database_url) as tasks:
                read = list(tasks.events.get(task))
                tasks.save(TaskHappened(task, 3, TaskRenamed("Row it")))
            append(log, an_append(renamed(task, 4)))
            assert versions(log, task) == [1, 2, 3, 4]
        assert read == [
            TaskHappened(task, 1, TaskCreated("Ship it")),
            TaskHappened(task, 2, TaskRenamed("Sail it")),
        ]
