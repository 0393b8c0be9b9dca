"""The system stream: what the log says about itself stands among its events, and no read model minds it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.cli import starting
from infrastructure.log.system_stream import begin_epoch
from infrastructure.log.verify import verify_log
from infrastructure.processes.supervisor import Child
from infrastructure.settings import Settings
from projections import TABLES
from tests.log_world import World, number

NOBODY = UUID(int=0)


def test_an_epoch_begins_with_an_event_of_the_log_itself(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("UPDATE log SET epoch = 2")
    begin_epoch(world.connection, "log_main")
    row = world.connection.execute(
        "SELECT e.originator_id = l.log_id, e.originator_version, e.workspace_id, e.epoch, e.topic, "
        "convert_from(e.state, 'UTF8') FROM events e, log l WHERE e.notification_id = 2"
    ).fetchone()
    assert row is not None
    assert row[:5] == (True, 1, NOBODY, 2, "log.epoch_began")
    assert msgspec.json.decode(row[5]) == {"type": "log.epoch_began", "epoch": 2}
    assert verify_log(world.database_url, "main").first_bad is None


def test_it_is_said_once_an_epoch(world: World) -> None:
    world.connection.execute("UPDATE log SET epoch = 2")
    begin_epoch(world.connection, "log_main")
    begin_epoch(world.connection, "log_main")
    world.connection.execute("UPDATE log SET epoch = 3")
    begin_epoch(world.connection, "log_main")
    assert world.head() == 2


def test_every_read_model_passes_over_it(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("UPDATE log SET epoch = 2")
    world.connection.execute("UPDATE checkpoints SET epoch = 2")
    begin_epoch(world.connection, "log_main")
    world.record(number(1), TaskRenamed("B"))
    world.project()
    assert {world.position(table.name) for table in TABLES} == {3}
    assert world.connection.execute("SELECT count(*) FROM feed").fetchone() == (2,)


def test_a_log_in_its_first_epoch_says_nothing(world: World) -> None:
    begin_epoch(world.connection, "log_main")
    assert world.head() == 0


class _Begun(Exception):
    """Everything before the first child process is done."""


def _no_children(_: Settings) -> Sequence[Child]:
    raise _Begun


_STARTS: dict[str, Any] = {
    "dev": lambda settings: starting.run_dev(settings, _no_children),
    "serve": lambda settings: starting.run_with_servers(settings, _no_children, has_url=True),
    "work": lambda settings: starting.run_with_servers(settings, _no_children, has_url=False),
}


@pytest.mark.parametrize("way", list(_STARTS))
def test_an_epoch_that_was_raised_by_hand_begins_with_the_next_start(world: World, way: str) -> None:
    settings = Settings(
        database_url=world.database_url, redis_url=world.redis_url, secret_key="a secret of the tests, long enough"
    )
    world.record(number(1), TaskCreated("A"))
    for heads in (1, 1):
        with pytest.raises(_Begun):
            _STARTS[way](settings)
        assert world.head() == heads
    world.connection.execute("UPDATE log SET epoch = epoch + 1")
    for heads in (2, 2):
        with pytest.raises(_Begun):
            _STARTS[way](settings)
        assert world.head() == heads
    found = verify_log(world.database_url, "main")
    assert (found.epoch, found.event_epoch, found.is_clean) == (2, 2, True)
