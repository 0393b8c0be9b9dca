"""What an operator does with read models: see how they fare, build one again, apply parked events after a fix.

Each operation writes to standard output and returns the process's exit code: 0 for done, 1 where something is away or still
wrong, 2 for a mistake in the request.
"""

import sys
from typing import Any

import msgspec
import psycopg
import redis
from rich.console import Console
from rich.table import Table

from infrastructure.cli.progress_bar import progress_bar
from infrastructure.log.source import Reconnecting
from infrastructure.read_models.hot_store import HotStore
from infrastructure.read_models.parked_events import ParkedEvent, StillFailing, parked_events, replay_stream
from infrastructure.read_models.rebuild import rebuild, rebuild_all
from infrastructure.read_models.status import ReadModelState, find_states_now
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from infrastructure.settings import Settings
from projections import ALL, HOT, TABLES
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Hold, Incomplete

DONE, FAILED, MISTAKEN = 0, 1, 2
EVERY = "all"
IN_REDIS = (HOT, EVERY)
"""Names whose rebuild needs Redis."""


class LogStatus(msgspec.Struct, frozen=True):
    """A log's newest position and its read models."""

    log: str
    head: int
    read_models: list[ReadModelState]


def status(settings: Settings, *, as_json: bool) -> int:
    """Show the log's head and how each read model fares."""
    try:
        found = read_status(settings)
    except psycopg.Error as error:
        return _failed(f"PostgreSQL: {_line(error)}")
    if as_json:
        _plain(msgspec.json.encode(found).decode())
        return DONE
    table = Table(
        "read model", "layout", "position", "behind", "lag", "parked", "state", title=f"log {found.log} at {found.head}"
    )
    for each in found.read_models:
        known = each.position is not None
        table.add_row(
            each.name,
            each.layout,
            str(each.position) if known else "-",
            str(each.behind) if known else "-",
            f"{each.lag_seconds:.1f} s" if known else "-",
            str(each.parked),
            f"held: {each.held}" if each.held else each.redis or "ok",
        )
    Console().print(table)
    return DONE


def read_status(settings: Settings) -> LogStatus:
    """The state of the log's read models now; raises psycopg.Error where Postgres is away, Redis may be."""
    place, state = _hot(settings)
    with connect_sync(settings.database_url, log_schema(settings.log_name), "taskmaster status") as connection:
        head, states = find_states_now(connection, place.position if place else None, {HOT: state})
    order = {name: number for number, name in enumerate(ALL)}
    known = sorted((each for each in states if each.name in order), key=lambda each: order[each.name])
    return LogStatus(settings.log_name, head, known)


def _hot(settings: Settings) -> tuple[Checkpoint | None, str]:
    if not settings.redis_url:
        return None, "away"
    client = sync_client(settings.redis_url, READ_MODELS, timeout=2.0)
    connection = Reconnecting(settings.database_url, log_schema(settings.log_name), "taskmaster status")
    try:
        return HotStore(connection, client, settings.log_name).checkpoints()[0], "ok"
    except Incomplete:
        return None, "rebuilding"
    except redis.RedisError:
        return None, "away"
    finally:
        connection.close()
        client.close()


def rebuild_one(settings: Settings, *, name: str) -> int:
    """Build a read model, or `all`, again from the whole log; the old one serves until then."""
    if name not in (*ALL, EVERY):
        return _mistaken(f"there is no read model {name!r}: choose one of {', '.join(ALL)} or {EVERY}")
    try:
        position = _rebuild(settings, name)
    except (psycopg.Error, redis.RedisError) as error:
        return _failed(f"{name}: {_line(error)}")
    except Hold as held:
        return _failed(f"{name}: what serves is further on than this release can read: {held}")
    for each in ALL if name == EVERY else (name,):
        _plain(f"{each} was built again up to position {position}")
    return DONE


def _rebuild(settings: Settings, name: str) -> int:
    log = (settings.database_url, settings.redis_url, settings.log_name)
    with progress_bar(Console(stderr=True), f"building {name}") as show:
        return rebuild_all(*log, show) if name == EVERY else rebuild(*log, name, show)


def parked(settings: Settings, *, replay: bool) -> int:
    """List the parked events; with `replay` apply them again. What still fails stays parked."""
    try:
        with connect_sync(settings.database_url, log_schema(settings.log_name), "taskmaster parked") as connection:
            connection.autocommit = True
            events = parked_events(connection)
            if not replay:
                _show(events)
                return DONE
            failures = _replay(settings, connection, events)
            left = parked_events(connection)
    except (psycopg.Error, redis.RedisError) as error:
        return _failed(_line(error))
    except Hold as held:
        return _failed(f"{HOT}: {held}")
    _plain(f"{len(events) - len(left)} of {len(events)} parked events were applied")
    for failure in failures:
        _failed(failure)
    return FAILED if left else DONE


def _replay(settings: Settings, connection: psycopg.Connection[Any], events: list[ParkedEvent]) -> list[str]:
    """Stream by stream for the read models in Postgres; the one in Redis is built again."""
    failures = []
    projections = {projection.name: projection for projection in TABLES}
    for name, stream_id in dict.fromkeys((event.projection, event.stream_id) for event in events):
        if name not in projections:
            continue
        try:
            replay_stream(connection, projections[name], stream_id)
        except StillFailing as failing:
            failures.append(f"{name}: task {stream_id} still fails: {failing}")
    if any(event.projection == HOT for event in events):
        _rebuild(settings, HOT)
    return failures


def _show(events: list[ParkedEvent]) -> None:
    if not events:
        _plain("nothing is parked")
        return
    columns = ("read model", "position", "task", "version", "since", "why")
    rows = [
        (each.projection, str(each.position), str(each.stream_id), str(each.version), f"{each.parked_at:%FT%TZ}", each.error)
        for each in events
    ]
    if not Console().is_terminal:
        for row in rows:
            _plain("\t".join(row))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _plain(text: str) -> None:
    # Not through rich: it would turn the tabs of a line into spaces.
    sys.stdout.write(f"{text}\n")


def _mistaken(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return MISTAKEN


def _failed(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return FAILED


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
