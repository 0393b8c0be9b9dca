"""A worker that is killed anywhere inside a redaction leaves nothing half redacted that the next one would not complete."""

import signal
import subprocess
import sys

import pytest

from domain.task.events import TaskCreated
from infrastructure.log.erasing import erase_payloads
from infrastructure.read_models.projecting import LogProjecting
from tests.log_world import SCHEMA, World, number
from tests.projections.redaction.canaries import CANARY, canary, content, rebuilt, told

# The first pass is that of the projections that share a transaction, the last one the feed's.
PASSES = (
    *("tables.before_apply:1", "tables.inside:1", "tables.inside:5", "tables.before_commit:1", "tables.in_flight:2"),
    *("hot.before_apply:1", "hot.in_flight:1", "hot.after_apply:1"),
)


@pytest.mark.parametrize("point", PASSES)
def test_a_worker_that_is_killed_inside_a_redaction_is_followed_by_one_that_completes_it(
    world: World, projecting: LogProjecting, point: str
) -> None:
    task = canary(world)
    world.record(number(2), TaskCreated("A"))
    projecting.sweep()
    erase_payloads(world.connection, SCHEMA, [task])
    arguments = [sys.executable, "-m", "tests.projections.redaction.redacting_process", world.database_url, world.redis_url]
    ended = subprocess.run([*arguments, point], check=False, timeout=60)
    # Beside a statement that is under way the kill comes from another thread, and may come too late.
    assert ended.returncode == -signal.SIGKILL or (ended.returncode == 0 and "in_flight" in point)
    projecting.sweep()
    assert CANARY not in told(world)
    assert content(world) == rebuilt(world)
