"""Text that is to be erased, and everything that any read model holds, so that it can be looked for there."""

from typing import Any
from uuid import UUID

import pytest

from domain.task.events import TaskCompleted, TaskCreated, TaskLabelAdded, TaskRenamed
from projections import HOT
from projections.engine.changes import ChangeReader, Passed
from projections.task.snapshots import EVERY
from tests.log_world import SCHEMA, World

CANARY = "xq7canary"
Content = dict[str, Any]


def canary(world: World, number: int = 1) -> UUID:
    """A task that says the word in each of its texts, longer than a span of snapshots."""
    task = canary_id(number)
    world.record(
        task,
        TaskCreated(f"{CANARY} title", f"{CANARY} text", labels=(f"{CANARY}-a",), reason=f"{CANARY} why"),
        *(TaskRenamed(f"{CANARY} {n}", attributes={"team": CANARY}) for n in range(EVERY + 10)),
        TaskLabelAdded(f"{CANARY}-b"),
        TaskCompleted(reason=f"{CANARY} done"),
    )
    return task


def canary_id(number: int) -> UUID:
    """Which task that is."""
    return UUID(int=0x0195A000_0000_7000_8000_00000000CA00 + number)


def told(world: World) -> str:
    """Everything that any read model of the log holds, in every layout and every generation, with bytes as text."""
    schemas = world.connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND starts_with(n.nspname, %s)",
        (f"{SCHEMA}__",),
    ).fetchall()
    found = [world.connection.execute(f'SELECT * FROM "{schema}"."{table}"'.encode()).fetchall() for schema, table in schemas]
    keys = [(key, _value(world, key)) for key in world.redis.scan_iter("tm:*")]
    return repr(found) + repr(keys)


def _value(world: World, key: bytes) -> object:
    kind = world.redis.type(key)
    return world.redis.hgetall(key) if kind == b"hash" else world.redis.get(key) if kind == b"string" else None


def content(world: World) -> Content:
    """Every table and every key, the keys in Redis as one more table."""
    return {**world.table_dump(), HOT: sorted(world.hot_dump().items())}


def rebuilt(world: World) -> Content:
    """The same after everything was built again from the log as it is, without any redaction: there is nothing to redact."""
    world.forget_read_models()
    world.connection.execute("UPDATE checkpoints SET generation = 1")
    with pytest.MonkeyPatch.context() as release:
        release.setattr(ChangeReader, "_passed", lambda _, record: Passed(record))
        world.project()
    return content(world)


def streams(world: World, kind: str = "task") -> list[UUID]:
    """All tasks or projects, the one with most events first."""
    rows = world.connection.execute(
        "SELECT originator_id FROM events WHERE starts_with(topic, %s) GROUP BY 1 ORDER BY count(*) DESC, 1", (f"{kind}.",)
    )
    return [row[0] for row in rows.fetchall()]
