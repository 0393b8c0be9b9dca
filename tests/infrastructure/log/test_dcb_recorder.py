"""Our log passes the library's own suite for recorders of dynamic consistency boundaries, empty and with events of ours in it.

`eventsourcing.dcb.tests` holds one class with two suites, `_test_append_read` and `_test_append_subscribe`: both are run whole.
What the log does not do that the interface would allow is tested at the end: conditions on the type of an event of ours alone.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from uuid import uuid4

import msgspec
import psycopg
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, OperationalError, ProgrammingError
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.log import Condition, ConditionViolated, NewEvent
from domain.task.events import TaskCreated
from infrastructure.log import dcb_recorder
from infrastructure.log.dcb_recorder import LogDCBRecorder
from infrastructure.log.retagging import retag
from infrastructure.log.verify import verify_log
from tests.infrastructure.log.another_scheme import take_next_scheme
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import SCHEMA, an_append, append, created, log_connection, stored


@pytest.fixture
def recorder(database_url: str) -> Iterator[LogDCBRecorder]:
    given = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    where = (given["dbname"], given["host"], given["port"], given["user"], "")
    with PostgresDatastore(*where, schema=SCHEMA, pool_size=8) as datastore:
        yield LogDCBRecorder(datastore)


class TestSuite(DCBRecorderTestCase):
    """unittest classes take no fixtures as arguments; an autouse one hands the recorder over."""

    @pytest.fixture(autouse=True)
    def _recorder_of_the_test(self, recorder: LogDCBRecorder, database_url: str) -> None:
        self.recorder = recorder
        self.database_url = database_url

    def test_append_read(self) -> None:
        self._test_append_read(self.recorder)
        assert verify_log(self.database_url, "main").is_clean

    def test_append_read_behind_events_of_ours(self) -> None:
        with log_connection(self.database_url) as log:
            append(log, an_append(*(created(uuid4()) for _ in range(3))))
        self._test_append_read(self.recorder, initial_position=3)
        assert verify_log(self.database_url, "main").is_clean

    def test_append_subscribe(self) -> None:
        self._test_append_subscribe(self.recorder)

    def test_append_subscribe_behind_events_of_ours(self) -> None:
        with log_connection(self.database_url) as log:
            append(log, an_append(created(uuid4())))
        self._test_append_subscribe(self.recorder, initial_position=1)


# The suite is here to be subclassed, not to be collected.
del DCBRecorderTestCase


def an_event(*tags: str, kind: str = "Happened", data: bytes = b"{}") -> DCBEvent:
    return DCBEvent(kind, data, list(tags))


def unless(*tags: str, types: tuple[str, ...] = (), after: int | None = None) -> DCBAppendCondition:
    return DCBAppendCondition(DCBQuery([DCBQueryItem(list(types), list(tags))]), after)


def labelled(*tags: str) -> NewEvent:
    """The first event of a new task, whose labels are its tags in these tests."""
    return NewEvent(uuid4(), 1, TaskCreated("Ship it", labels=tags))


class TestItsEventsInTheLog:
    def test_any_bytes_and_texts_come_back_as_they_were(self, recorder: LogDCBRecorder, database_url: str) -> None:
        event = DCBEvent("Ça: va?", bytes(range(256)), ["b", "a", "b", "{ü,'\"}"])
        recorder.append([event])
        assert [each.event for each in recorder.read()] == [event]
        assert verify_log(database_url, "main").is_clean

    def test_they_are_of_the_workspace_and_principal_that_the_recorder_is_for(
        self, recorder: LogDCBRecorder, database_url: str
    ) -> None:
        workspace, principal = uuid4(), uuid4()
        LogDCBRecorder(recorder.datastore, workspace_id=workspace, principal_id=principal).append([an_event("a")])
        with log_connection(database_url) as log:
            (row,) = stored(log)
            payload = log.execute("SELECT payload FROM readable_events").fetchone()
        assert (row.workspace_id, row.principal_id) == (workspace, principal)
        assert payload == ({"data": "e30=", "tags": ["a"]},)

    def test_a_type_that_looks_like_one_of_ours_is_none(self, recorder: LogDCBRecorder, database_url: str) -> None:
        recorder.append([an_event(kind="task.created", data=b'{"type":"task.created","title":"A"}')])
        with log_connection(database_url) as log:
            assert [row.topic for row in stored(log)] == ["dcb:task.created"]
        assert verify_log(database_url, "main").is_clean

    def test_an_erased_one_is_passed_over(self, recorder: LogDCBRecorder, database_url: str) -> None:
        recorder.append([an_event("a"), an_event("a")])
        with log_connection(database_url) as log:
            log.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id = 1")
        found = recorder.read(DCBQuery([DCBQueryItem(tags=["a"])]))
        assert ([each.position for each in found], found.head) == ([2], 2)
        assert verify_log(database_url, "main").is_clean

    def test_their_tags_stay_when_those_of_the_log_are_derived_anew(
        self, recorder: LogDCBRecorder, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder.append([an_event("a"), an_event("b")])
        take_next_scheme(monkeypatch.setattr)
        retag(database_url, "main")
        assert [each.position for each in recorder.read(DCBQuery([DCBQueryItem(tags=["b"])]))] == [2]
        with pytest.raises(IntegrityError):
            recorder.append([an_event("c")], unless("a"))
        assert verify_log(database_url, "main").is_clean

    def test_a_long_log_is_read_page_by_page_and_whole(self, recorder: LogDCBRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dcb_recorder, "PAGE", 7)
        recorder.append([an_event(f"t{number % 3}") for number in range(50)])
        found = recorder.read()
        recorder.append([an_event("later")])
        assert ([each.position for each in found], found.head) == (list(range(1, 51)), 50)
        some = recorder.read(DCBQuery([DCBQueryItem(tags=["t1"])]), after=10, limit=9)
        assert [each.position for each in some] == [11, 14, 17, 20, 23, 26, 29, 32, 35]


@pytest.mark.usefixtures("_tagged_by_label")
class TestBesideOurs:
    def test_it_reads_our_events_under_their_types_and_tags(self, recorder: LogDCBRecorder, database_url: str) -> None:
        recorder.append([an_event("a")])
        with log_connection(database_url) as log:
            append(log, an_append(labelled("a", "b"), labelled("b")))
        found = list(recorder.read(DCBQuery([DCBQueryItem(["task.created"], ["a"])])))
        assert [(each.position, each.event.type, each.event.tags) for each in found] == [(2, "task.created", ["a", "b"])]
        assert msgspec.json.decode(found[0].event.data)["title"] == "Ship it"
        by_type = recorder.read(DCBQuery([DCBQueryItem(["task.created", "Happened"])]))
        assert [each.position for each in by_type] == [1, 2, 3]

    def test_a_decision_may_rest_on_ours(self, recorder: LogDCBRecorder, database_url: str) -> None:
        with log_connection(database_url) as log:
            append(log, an_append(labelled("a")))
        with pytest.raises(IntegrityError):
            recorder.append([an_event("b")], unless("a"))
        assert recorder.append([an_event("b")], unless("a", after=1)) == 2
        assert recorder.append([an_event("b")], unless("a", types=("Happened",))) == 3

    def test_and_ours_on_one_of_it(self, recorder: LogDCBRecorder, database_url: str) -> None:
        recorder.append([an_event("a")])
        with log_connection(database_url) as log:
            answers = [append(log, an_append(labelled(), conditions=[Condition("a", at)]))[0] for at in (0, 1)]
        assert [type(answer).__name__ for answer in answers] == ["ConditionViolated", "Appended"]
        assert isinstance(answers[0], ConditionViolated)

    def test_a_subscription_hears_of_what_we_append(self, recorder: LogDCBRecorder, database_url: str) -> None:
        recorder.append([an_event("a")])
        with recorder.subscribe(DCBQuery([DCBQueryItem(tags=["a"])])) as subscription:
            assert next(subscription).position == 1
            with log_connection(database_url) as log:
                append(log, an_append(labelled("b")), an_append(labelled("a")))
            assert next(subscription).position == 3

    def test_a_condition_on_one_of_our_types_alone_is_refused(self, recorder: LogDCBRecorder) -> None:
        for types in (("task.created",), ("Happened", "task.renamed")):
            with pytest.raises(ProgrammingError, match="a condition on the log's own type 'task"):
                recorder.append([an_event("a")], unless(types=types))
        assert recorder.append([an_event("a")], unless("a", types=("task.created",))) == 1
        assert recorder.append([an_event("a")], unless(types=("Other",))) == 2
        with pytest.raises(IntegrityError):
            recorder.append([an_event("a")], unless(types=("Happened",)))


def taken(recorder: LogDCBRecorder, seat: str) -> bool:
    """Take a seat unless somebody has it."""
    try:
        recorder.append([an_event(seat)], unless(seat))
    except IntegrityError:
        return False
    return True


class TestUnderTheLock:
    def test_a_seat_is_taken_once_however_many_want_it(self, recorder: LogDCBRecorder) -> None:
        everybody = threading.Barrier(5)

        def want(_: int) -> list[bool]:
            everybody.wait()
            return [taken(recorder, f"seat {number}") for number in range(40)]

        with ThreadPoolExecutor(5) as threads:
            got = list(threads.map(want, range(5)))
        assert [sum(each) for each in zip(*got, strict=True)] == [1] * 40
        assert [each.position for each in recorder.read()] == list(range(1, 41))

    def test_an_append_whose_reply_was_lost_is_not_refused_by_its_own_events(
        self, recorder: LogDCBRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tell = recorder._notify
        lost = iter([True, False])

        class Losing:
            """In the place of the announcement, which comes after the commit."""

            def __get__(self, *_: object) -> object:
                if next(lost):
                    raise OperationalError("the reply was lost")
                return tell

        monkeypatch.delattr(recorder, "_notify")
        monkeypatch.setattr(type(recorder), "_notify", Losing(), raising=False)
        assert recorder.append([an_event("a"), an_event("a")], unless("a")) == 2
        assert [each.position for each in recorder.read()] == [1, 2]

    def test_nothing_to_append_is_an_error(self, recorder: LogDCBRecorder) -> None:
        with pytest.raises(ProgrammingError):
            recorder.append([])


class Seats(DCBApplication):
    """An application of the library becomes one on our log by what its environment says."""

    env: ClassVar = {"PERSISTENCE_MODULE": "infrastructure.log.dcb_recorder"}


def test_an_application_of_the_library_works_on_our_log(database_url: str) -> None:
    given = conninfo_to_dict(database_url)
    env = {f"POSTGRES_{name.upper()}": str(given[name]) for name in ("dbname", "host", "port", "user")}
    with Seats(env | {"POSTGRES_PASSWORD": "", "POSTGRES_SCHEMA": SCHEMA}) as seats:
        assert isinstance(seats.recorder, LogDCBRecorder)
        assert seats.recorder.append([an_event("a")]) == 1
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM log_main.event_tags").fetchone() == (2,)
