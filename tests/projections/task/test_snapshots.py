"""task_snapshots: at every hundredth version, and exactly what the plain fold gives."""

from uuid import UUID

import msgspec

from domain.task.events import TaskActivityLogged, TaskCompleted, TaskCreated, TaskLabelAdded, TaskReopened, TaskStarted
from projections.task.document import TaskDocument
from projections.task.snapshots import TASK_DOCUMENTS, latest_snapshot
from tests.log_world import World, number

LONG = number(1)
SHORT = number(2)


def lived(world: World, task: UUID, versions: int) -> None:
    """A task with so many events of several kinds."""
    kinds = (TaskStarted(), TaskCompleted(), TaskReopened(), TaskActivityLogged("step"))
    world.record(task, TaskCreated("T"), *(kinds[n % 4] if n != 150 else TaskLabelAdded("late") for n in range(versions - 1)))


def test_a_snapshot_stands_at_every_hundredth_version_and_equals_the_plain_fold(world: World) -> None:
    lived(world, LONG, 320)
    lived(world, SHORT, 99)
    world.project(batch=7)
    rows = world.connection.execute("SELECT task_id, version, document FROM task_snapshots ORDER BY version").fetchall()
    assert [(row[0], row[1]) for row in rows] == [(LONG, 100), (LONG, 200), (LONG, 300)]
    for _, version, document in rows:
        assert msgspec.json.decode(document, type=TaskDocument) == world.folded(LONG, version)


def test_the_newest_snapshot_not_after_the_given_place_is_found(world: World) -> None:
    lived(world, LONG, 320)
    world.project()

    def found(version: int) -> int | None:
        document = world.ask(lambda connection: latest_snapshot(connection, LONG, version))
        return document.version if document else None

    assert [found(99), found(100), found(299), found(10**6)] == [None, 100, 200, 300]


def test_documents_recovered_with_and_without_snapshots_are_the_same(world: World) -> None:
    lived(world, LONG, 320)
    lived(world, SHORT, 42)
    world.project()
    wanted = {LONG: 310, SHORT: 42}
    with_snapshots = world.source().documents_at(TASK_DOCUMENTS, wanted)
    assert with_snapshots == {LONG: world.folded(LONG, 310), SHORT: world.folded(SHORT, 42)}
