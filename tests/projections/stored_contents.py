"""What each read model stores of a history that never changes, as a digest for each of its layouts."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Union
from uuid import UUID

import msgspec

from domain.aggregates import ALL as AGGREGATES
from projections import HOT, HOT_LAYOUT, TABLES
from projections.engine.documents import SPAN
from tests.generated_history import writes
from tests.log_world import World

FOLDER = Path(__file__).parent / "stored"
HISTORY = FOLDER / "history.jsonl"
DIGESTS = FOLDER / "digests.json"
COMMANDS = 300
Digests = dict[str, dict[str, dict[str, str]]]
"""By read model, layout, and how many writes of the history they are of."""

EVENTS = tuple(kind for aggregate in AGGREGATES for kind in sorted(aggregate.events, key=str))


class Write(msgspec.Struct, frozen=True, array_like=True):
    """The events of one command: stream, workspace, principal, when they happened if they were imported, their stored forms."""

    stream: UUID
    workspace: UUID
    by: UUID
    at: datetime | None
    events: tuple[msgspec.Raw, ...]

    def decoded(self) -> list[Any]:
        """The events."""
        return [msgspec.json.decode(event, type=Union[EVENTS]) for event in self.events]  # noqa: UP007 - known at run time only


def layouts() -> dict[str, str]:
    """The layout of each read model, by the number that a change of its contents raises."""
    return {each.name: str(each.layout) for each in TABLES} | {HOT: str(HOT_LAYOUT)}


def recorded_history() -> list[Write]:
    """The writes, in order. Lines are only ever added."""
    return [msgspec.json.decode(line, type=Write) for line in HISTORY.read_bytes().splitlines()] if HISTORY.exists() else []


def recorded_digests() -> Digests:
    """The digests. They are only ever added."""
    return msgspec.json.decode(DIGESTS.read_bytes(), type=Digests) if DIGESTS.exists() else {}


def missing(history: Sequence[Write]) -> set[str]:
    """The kinds of event that never happen in it, and whether no stream lives long enough to have a snapshot."""
    happened = {type(event) for write in history for event in write.decoded()}
    lives = Counter[UUID]()
    for write in history:
        lives[write.stream] += len(write.events)
    long_life = set() if max(lives.values(), default=0) >= SPAN else {f"a stream of {SPAN} events"}
    return {kind.__name__ for kind in EVENTS if kind not in happened} | long_life


def extended(history: Sequence[Write]) -> list[Write]:
    """The history with as much of a generated one after it as it takes for every kind of event to happen."""
    first = len({write.stream for write in history}) + 1
    more = list(history)
    for stream, workspace, by, events, at in writes(len(history) + 1, 20 * COMMANDS, first):
        if not missing(more) and len(more) - len(history) >= COMMANDS:
            break
        more.append(Write(stream, workspace, by, at, tuple(msgspec.Raw(msgspec.json.encode(event)) for event in events)))
    return more


def record(history: Sequence[Write], digests: Digests) -> None:
    """Put them where `recorded_…` finds them."""
    FOLDER.mkdir(exist_ok=True)
    HISTORY.write_bytes(b"".join(msgspec.json.encode(write) + b"\n" for write in history))
    DIGESTS.write_bytes(msgspec.json.format(msgspec.json.encode(digests, order="sorted"), indent=2) + b"\n")


def append(world: World, history: Sequence[Write]) -> None:
    """Append the writes; what differs from run to run in the log is made from the places instead."""
    before = world.head()
    for write in history:
        world.record(write.stream, *write.decoded(), workspace=write.workspace, by=write.by, at=write.at)
    world.connection.execute(
        "UPDATE events SET recorded_at = '2026-01-01Z'::timestamptz + notification_id * interval '1 minute', "
        "command_id = md5('command ' || notification_id)::uuid, correlation_id = md5('correlation ' || notification_id)::uuid, "
        "hash = sha256(int8send(notification_id)) WHERE notification_id > %s",
        (before,),
    )


def contents(world: World) -> dict[str, str]:
    """A digest for each read model of everything that it stores."""
    stored: dict[str, object] = {each.name: _rows(world, each.tables) for each in TABLES}
    # The log's id is part of the checkpoint in Redis.
    stored[HOT] = sorted((key, value) for key, value in world.hot_dump().items() if key != b"checkpoint")
    return {name: sha256(repr(content).encode()).hexdigest()[:16] for name, content in stored.items()}


def _rows(world: World, tables: Sequence[str]) -> list[tuple[str, list[str]]]:
    # Sorted here: how a server sorts text depends on its locale.
    return [(table, sorted(rows)) for table, rows in world.table_dump(tables).items()]
