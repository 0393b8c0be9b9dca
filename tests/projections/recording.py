"""A projection that only records what was applied, in a table without any unique key, and misbehaves where it is told to."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from domain.task.events import TaskCreated
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.table_store import TableStore
from projections import DOCUMENTS
from projections.engine.changes import Change, ChangeReader
from projections.engine.checkpoint import Checkpoint
from projections.engine.projector import Projector
from tests.log_world import LOG, SCHEMA, World, number

Trouble = Callable[[Change], None]


def no_trouble(_change: Change) -> None:
    """Everything is applied."""


class Recording:
    """Counts every application of every event."""

    tables: tuple[str, ...] = ("applications",)
    follows: frozenset[str] = frozenset({"task"})

    def __init__(self, name: str, trouble: Trouble = no_trouble) -> None:
        self.name = name
        self.trouble = trouble
        self.tried: list[int] = []

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        for change in changes:
            self.tried.append(change.record.position)
            self.trouble(change)
            connection.execute("INSERT INTO applications VALUES (%s, %s)", (self.name, change.record.position))


def title_of(change: Change) -> str:
    return change.after.task.title


def dies_of_poison(change: Change) -> None:
    """The process ends without a word, as one does that the kernel kills."""
    if title_of(change) == "poison":
        os._exit(7)


def prepare(world: World, *names: str) -> None:
    """The table of applications, and a checkpoint for each name."""
    world.connection.execute("CREATE TABLE applications (projection text, position bigint)")
    for name in names:
        world.connection.execute(
            "INSERT INTO checkpoints (projection, layout, log_id, epoch) SELECT %s, '', log_id, epoch FROM log", (name,)
        )


def applied(world: World, name: str) -> list[int]:
    """The positions that were applied, each as often as it was."""
    rows = world.connection.execute("SELECT position FROM applications WHERE projection = %s ORDER BY 1", (name,))
    return [row[0] for row in rows.fetchall()]


def run_once(database_url: str, name: str) -> None:
    """What a worker process does: catch up. Entry point of a process of its own."""
    reader = ChangeReader(PostgresLogSource(database_url, LOG), DOCUMENTS)
    Projector(TableStore(Reconnecting(database_url, SCHEMA, "test"), [Recording(name, dies_of_poison)]), reader).catch_up()


def tasks(world: World, count: int, first: int = 1, title: str = "fine") -> None:
    """So many tasks with one event each."""
    for n in range(first, first + count):
        world.record(number(n), TaskCreated(title))


def poisoned(change: Change) -> None:
    if title_of(change) == "poison":
        raise ValueError("poison")


def checkpoint(world: World, name: str) -> Checkpoint:
    store = TableStore(world.reconnecting(), [Recording(name)])
    return store.checkpoints()[0]
