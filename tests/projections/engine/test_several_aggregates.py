"""A log with several kinds of streams: each read model takes those that it follows, and passes all others over."""

import msgspec
import pytest

import infrastructure.log.codec
from domain.aggregates import ALL
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.codec import Codec
from infrastructure.servers.migrate import migrate
from projections import DOCUMENTS, TABLES
from projections.engine.changes import Change, ChangeReader, Passed
from projections.engine.port import Hold
from projections.engine.projector import Projector
from tests.log_world import HOME, LOG, World, number
from tests.projections.recording import Recording, prepare
from tests.second_aggregate import JAR, Jar, JarFilled, JarOpened, JarPainted, Jars, jars_are_known


@pytest.fixture(autouse=True)
def _jars(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    jars_are_known(monkeypatch)
    # What follows jars is of another layout than what the database has.
    migrate(database_url, [LOG])


def with_jars(world: World) -> Projector:
    """A projector of the jars beside all read models of tasks."""
    world.connection.execute("CREATE TABLE jars (jar uuid, before int, marbles int, colour text)")
    world.connection.execute(
        "INSERT INTO checkpoints (projection, layout, log_id, epoch) SELECT 'jars', '', log_id, epoch FROM log"
    )
    return world.tables([*TABLES, Jars()])


def test_changes_carry_the_documents_of_their_own_kind(world: World) -> None:
    world.record(number(1), JarOpened("blue"), JarFilled(3))
    world.record(number(2), TaskCreated("Ship it"))
    changes = [entry for entry in ChangeReader(world.source(), DOCUMENTS).after(0, 10) if isinstance(entry, Change)]
    assert [change.aggregate for change in changes] == ["jar", "jar", "task"]
    assert changes[1].before.jar == Jar("blue")
    assert changes[1].after.jar == Jar("blue", 3)
    assert changes[2].after.task.title == "Ship it"


def test_documents_of_both_kinds_are_recovered_in_the_middle_of_their_streams(world: World) -> None:
    world.record(number(1), JarOpened("blue"))
    world.record(number(2), TaskCreated("Ship it"))
    world.record(number(1), JarFilled(3))
    world.record(number(2), TaskRenamed("Sail it"))
    reader = ChangeReader(world.source(), DOCUMENTS)
    changes = [entry for entry in reader.after(2, 10) if isinstance(entry, Change)]
    assert [change.before.version for change in changes] == [1, 1]
    assert (changes[0].after.jar, changes[1].after.task.title) == (Jar("blue", 3), "Sail it")


def test_each_read_model_takes_what_it_follows(world: World) -> None:
    projector = with_jars(world)
    world.record(number(1), JarOpened("blue"), JarFilled(3))
    world.record(number(2), TaskCreated("Ship it"))
    world.record(number(1), JarPainted("red"))
    projector.catch_up()
    world.hot().catch_up()
    rows = world.connection.execute("SELECT before, marbles, colour FROM jars").fetchall()
    assert rows == [(None, 0, "blue"), (0, 3, "blue"), (3, 3, "red")]
    assert {name: world.position(name) for name in ("jars", "task_list", "feed")} == dict.fromkeys(
        ("jars", "task_list", "feed"), 4
    )
    assert world.connection.execute("SELECT task_id FROM task_list").fetchall() == [(number(2),)]
    assert [key for key in world.hot_dump() if key.startswith(b"t:")] == [
        b"t:%s:%s" % (HOME.hex.encode(), number(2).hex.encode())
    ]


def test_what_a_read_model_does_not_follow_never_comes_to_it(world: World) -> None:
    prepare(world, "tasks alone")
    model = Recording("tasks alone")
    world.record(number(1), JarOpened("blue"), JarFilled(3))
    world.record(number(2), TaskCreated("Ship it"))
    world.tables([model]).catch_up()
    assert (model.tried, world.position("tasks alone")) == ([3], 3)


def test_a_jar_that_fails_is_parked_by_those_who_follow_it_alone(world: World) -> None:
    projector = with_jars(world)
    world.connection.execute("ALTER TABLE jars ADD CHECK (marbles < 5)")
    world.record(number(1), JarOpened("blue"), JarFilled(7), JarPainted("red"))
    world.record(number(2), TaskCreated("Ship it"))
    projector.catch_up()
    assert world.parked("jars") == [2, 3]
    assert [world.parked(table.name) for table in TABLES] == [[]] * len(TABLES)
    assert world.position("jars") == 4


def test_an_unknown_event_of_a_known_kind_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record(number(1), JarOpened("blue"), JarPainted("red"))
    older = msgspec.structs.replace(JAR, events=JAR.events - {JarPainted})
    monkeypatch.setattr(infrastructure.log.codec, "KNOWN", Codec((*ALL, older)))
    with pytest.raises(Hold, match=r"jar\.painted"):
        world.tables().catch_up()
    assert world.position("task_list") == 1


def test_a_kind_that_nobody_here_knows_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record(number(1), JarOpened("blue"))
    world.record(number(2), TaskCreated("Ship it"))
    monkeypatch.setattr(infrastructure.log.codec, "KNOWN", Codec(ALL))
    assert isinstance(ChangeReader(world.source(), DOCUMENTS).after(0, 10)[0], Passed)
    world.project()
    assert world.position("task_list") == 2


def test_a_known_kind_without_documents_is_passed_over(world: World) -> None:
    world.record(number(1), JarOpened("blue"))
    tasks_only = {name: kind for name, kind in DOCUMENTS.items() if name != JAR.name}
    (entry,) = ChangeReader(world.source(), tasks_only).after(0, 10)
    assert isinstance(entry, Passed)
    assert (entry.record.topic, entry.record.stream_id) == ("jar.opened", number(1))
