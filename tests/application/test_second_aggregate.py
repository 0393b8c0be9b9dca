"""Whatever is said of the task holds of any aggregate: a second one needs nothing but its value."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from application.checks import NothingToCheck
from application.command_handler import CommandHandler, IfMatch, PreconditionFailed
from application.first_project import FirstProjects
from application.log import EventStore, IdempotencyMismatch, Loaded
from application.receipts import ReceiptBody
from application.task_assignees import AssigneesAreMembers
from application.turns import Turns
from domain.errors import InvalidValue, NotFound, NotPermitted, RuleViolated
from domain.task.aggregate import TASK
from domain.task.commands import CreateTask, RenameTask
from infrastructure.log.codec import FIRST_VERSION, UnknownEventType, decode, encode, is_foreign
from tests.application.handler_under_test import a_principal, context, members
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log_under_test import ANA, open_store
from tests.second_aggregate import (
    JAR,
    FillJar,
    Jar,
    JarCommand,
    JarFilled,
    JarOpened,
    JarPainted,
    OpenJar,
    PaintJar,
    jars_are_known,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _jars(monkeypatch: pytest.MonkeyPatch) -> None:
    jars_are_known(monkeypatch)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    if request.param == "memory":
        yield InMemoryEventStore(lambda: datetime.now(UTC))
        return
    async with open_store(request.getfixturevalue("database_url")) as opened:
        yield opened


@pytest.fixture
def jars(store: EventStore) -> CommandHandler[Any, Any, JarCommand]:
    return CommandHandler(JAR, store, NothingToCheck(), Turns())


@pytest.fixture
def tasks(store: EventStore) -> CommandHandler[Any, Any, Any]:
    return CommandHandler(TASK, store, AssigneesAreMembers(members), Turns(), remedy=FirstProjects(store))


class TestCommands:
    async def test_a_jar_is_opened_filled_and_loaded(self, store: EventStore, jars: Any) -> None:
        jar = uuid4()
        opened = await jars.handle(OpenJar("blue"), jar, context())
        filled = await jars.handle(FillJar(7), jar, context())
        assert (opened.created, filled.created, filled.version, filled.position) == (True, False, 2, 2)
        loaded = await store.load(JAR, jar)
        assert loaded is not None
        assert (loaded.aggregate, loaded.state, loaded.version) == (JAR, Jar("blue", 7), 2)

    async def test_its_receipt_names_the_stream(self, jars: Any) -> None:
        jar = uuid4()
        receipt = await jars.handle(OpenJar("blue"), jar, context())
        assert receipt.stream_id == jar
        assert msgspec.json.decode(receipt.body, type=ReceiptBody).stream_id == jar

    async def test_its_rules_are_its_own(self, jars: Any) -> None:
        jar = uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        with pytest.raises(RuleViolated) as refusal:
            await jars.handle(FillJar(11), jar, context())
        assert (refusal.value.code, refusal.value.position) == ("jar_full", 1)

    async def test_a_role_that_may_not_may_not(self, jars: Any) -> None:
        with pytest.raises(NotPermitted):
            await jars.handle(OpenJar("blue"), uuid4(), context(principal=a_principal(role="imported")))

    async def test_what_is_not_there_is_missing_in_its_own_words(self, jars: Any) -> None:
        with pytest.raises(NotFound) as refusal:
            await jars.handle(FillJar(1), uuid4(), context())
        assert refusal.value.code == "jar_not_found"

    async def test_a_check_sees_the_state(self, store: EventStore) -> None:
        class OnlyBlue(NothingToCheck):
            async def __call__(self, state: object, command: object, principal: object) -> None:
                if isinstance(state, Jar) and state.colour != "blue":
                    raise InvalidValue("not_blue", "Only blue jars are filled.", "colour")

        jars, jar = CommandHandler(JAR, store, OnlyBlue(), Turns()), uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        await jars.handle(FillJar(1), jar, context())
        await jars.handle(PaintJar("red"), jar, context())
        with pytest.raises(InvalidValue):
            await jars.handle(FillJar(1), jar, context())


class TestIdempotency:
    async def test_a_replay_brings_the_receipt_back(self, jars: Any) -> None:
        jar, other = uuid4(), uuid4()
        first = await jars.handle(OpenJar("blue"), jar, context("k"))
        again = await jars.handle(OpenJar("blue"), other, context("k"))
        assert (again.body, again.created, again.replayed, again.stream_id) == (first.body, True, True, jar)

    async def test_one_key_covers_one_request_whatever_the_aggregate(self, jars: Any, tasks: Any) -> None:
        await jars.handle(OpenJar("blue"), uuid4(), context("k"))
        with pytest.raises(IdempotencyMismatch):
            await tasks.handle(CreateTask("Ship it"), uuid4(), context("k", request="another"))


class TestTouchedFields:
    async def test_a_change_of_another_field_since_does_not_clash(self, jars: Any) -> None:
        jar = uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        await jars.handle(FillJar(1), jar, context())
        assert (await jars.handle(PaintJar("red"), jar, context(if_match=IfMatch((1,))))).version == 3
        with pytest.raises(PreconditionFailed) as refusal:
            await jars.handle(FillJar(1), jar, context(if_match=IfMatch((1,))))
        assert refusal.value.fields == {"marbles"}


class TestStreamsOfOtherKinds:
    """An id names one stream, whatever is asked of it."""

    async def test_a_command_for_another_kind_finds_nothing(self, jars: Any, tasks: Any, store: EventStore) -> None:
        jar, task = uuid4(), uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        await tasks.handle(CreateTask("Ship it"), task, context())
        for handler, command, stream in ((tasks, RenameTask("x"), jar), (jars, FillJar(1), task)):
            with pytest.raises(NotFound) as refusal:
                await handler.handle(command, stream, context())
            assert refusal.value.position is None

    async def test_an_id_that_another_kind_has_is_taken(self, jars: Any, tasks: Any) -> None:
        jar = uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        with pytest.raises(RuleViolated) as refusal:
            await tasks.handle(CreateTask("Ship it"), jar, context())
        assert refusal.value.code == "task_exists"

    async def test_memory_holds_both(self, store: EventStore, jars: Any, tasks: Any) -> None:
        jar, task = uuid4(), uuid4()
        await jars.handle(OpenJar("blue"), jar, context())
        await tasks.handle(CreateTask("Ship it"), task, context())
        remembered: list[Loaded[Any] | None] = [store.recall(jar), store.recall(task)]
        assert [each.aggregate.name for each in remembered if each] == ["jar", "task"]
        assert remembered == [await store.load(JAR, jar), await store.load(TASK, task)]


class TestCodec:
    def test_each_wire_tag_has_a_schema_version_of_its_own(self) -> None:
        versions = {encode(event, ANA).schema_version for event in (JarOpened("a"), JarFilled(1))}
        assert (versions, encode(JarPainted("a"), ANA).schema_version) == ({FIRST_VERSION}, 3)

    def test_a_version_from_the_future_is_unknown_for_its_tag_alone(self) -> None:
        payload = b'{"type":"jar.%s","colour":"red"}'
        assert decode("jar.painted", 3, payload % b"painted") == JarPainted("red")
        assert decode("jar.painted", 1, payload % b"painted") == JarPainted("red")
        with pytest.raises(UnknownEventType):
            decode("jar.painted", 4, payload % b"painted")
        with pytest.raises(UnknownEventType):
            decode("jar.opened", 2, payload % b"opened")

    @pytest.mark.parametrize(
        ("topic", "foreign"),
        [
            ("jar.opened", False),
            ("jar.melted", False),
            ("task.renamed", False),
            ("vase.opened", True),
            ("jar:Jar.Opened", True),
        ],
    )
    def test_whose_a_stream_is_is_told_by_the_first_word(self, topic: str, foreign: bool) -> None:
        assert is_foreign(topic) is foreign
