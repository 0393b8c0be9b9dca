"""What a tag, a condition and a number cost an append, and the library's own recorder of consistency boundaries beside."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from uuid import UUID, uuid4

import uvloop
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.log import Append, Condition, NewEvent
from application.receipts import receipt_start
from domain.task.events import TaskCreated
from infrastructure.log import tags
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.servers.postgres import connect, log_schema
from infrastructure.settings import Settings
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Bench

KEYS = ("append_tagged_ratio", "numbered_ratio", "append_vs_dcb")
CONCURRENT = 64
LIBRARY_THREADS = 8
PROJECTS = 1_000
_TITLE = "Write the quarterly report"
_NOBODY = uuid4()
Kind = Callable[[int], Append]


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """All kinds of append by turns on one log, and the library's recorder on the same server."""
    projects = [uuid4() for _ in range(PROJECTS)]
    kinds: dict[str, Kind] = {
        "plain": lambda _: _append(),
        "tagged": _tagged,
        "one project": lambda _: _append(scope=projects[0]),
        "many projects": lambda number: _append(scope=projects[number % PROJECTS]),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in (*kinds, "library")}
    with bench.stage() as settings, _tags_of_labels(), _library(settings) as library:
        numbers = count()
        for kind in kinds.values():
            _run(settings, kind, numbers, 0.5)
        library(0.5)
        for turn in range(plan.rounds):
            # Whoever comes later meets a larger log: so nobody is always first.
            for name, kind in sorted(kinds.items(), reverse=bool(turn % 2)):
                rates[name].append(_run(settings, kind, numbers, plan.round_seconds))
            rates["library"].append(library(plan.round_seconds))
    rounds = f"{CONCURRENT} appends of an event at a time, medians of {plan.rounds} rounds of {plan.round_seconds:g} s by turns"
    told = {
        "append_tagged_ratio": ("tagged", "plain", f"a new tag and a condition that it is free / neither; {rounds}"),
        "numbered_ratio": ("one project", "many projects", f"numbered in one scope / in one of {PROJECTS:,}; {rounds}"),
        "append_vs_dcb": ("tagged", "library", f"the same against PostgresDCBRecorderTT, {LIBRARY_THREADS} threads; {rounds}"),
    }
    return [_figure(key, rates[ours], rates[theirs], how) for key, (ours, theirs, how) in told.items()]


def _figure(key: str, ours: list[float], theirs: list[float], how: str) -> Figure:
    ratio, mine, other = median_ratio(ours, theirs)
    return Figure(key, ratio, how, f"{mine:,.0f} / {other:,.0f} per s")


@contextmanager
def _tags_of_labels() -> Iterator[None]:
    """Of labels, as a free name would be one; tasks have no tags of their own that are new each time."""
    derived = tags.tags_of
    tags.tags_of = lambda event, *_: event.labels if isinstance(event, TaskCreated) else ()
    try:
        yield
    finally:
        tags.tags_of = derived


def _tagged(number: int) -> Append:
    name = f"name:{number}"
    return _append(name, condition=Condition(name, 0))


def _append(*labels: str, scope: UUID | None = None, condition: Condition | None = None) -> Append:
    command, stream = uuid4(), uuid4()
    return Append(
        workspace_id=_NOBODY,
        principal_id=_NOBODY,
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=(NewEvent(stream, 1, TaskCreated(_TITLE, labels=labels), scope=scope),),
        receipt_start=receipt_start(stream, 1),
        conditions=(condition,) if condition else (),
    )


def _run(settings: Settings, kind: Kind, numbers: Iterator[int], seconds: float) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_appends(settings, kind, numbers, seconds))


async def _appends(settings: Settings, kind: Kind, numbers: Iterator[int], seconds: float) -> float:
    """Appends a second."""
    schema = log_schema(settings.log_name)
    appender = GroupCommitAppender(lambda: connect(settings.database_url, schema, "benchmark"), schema)
    await appender.start()
    begun = time.perf_counter()

    async def repeat() -> int:
        done = 0
        while time.perf_counter() - begun < seconds:
            await appender.append(kind(next(numbers)))
            done += 1
        return done

    done = sum(await asyncio.gather(*(repeat() for _ in range(CONCURRENT))))
    elapsed = time.perf_counter() - begun
    await appender.stop()
    return done / elapsed


@contextmanager
def _library(settings: Settings) -> Iterator[Callable[[float], float]]:
    """The library's recorder over tables of its own, as it comes: a function that tells its appends a second."""
    given = {name: str(value) for name, value in conninfo_to_dict(settings.database_url).items()}
    place = (given["dbname"], given["host"], given["port"], given["user"], given.get("password", ""))
    # Its functions name a table without its schema, so they can only stand in the one that is searched.
    with PostgresDatastore(*place, pool_size=LIBRARY_THREADS) as datastore:
        recorder = PostgresDCBRecorderTT(datastore, events_table_name="dcb_events")
        recorder.create_table()
        yield lambda seconds: _library_appends(recorder, seconds)


def _library_appends(recorder: PostgresDCBRecorderTT, seconds: float) -> float:
    begun = time.perf_counter()
    counts, errors = [0] * LIBRARY_THREADS, []

    def repeat(thread: int) -> None:
        try:
            while time.perf_counter() - begun < seconds:
                name = f"name:{uuid4()}"
                free = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=[name])]))
                recorder.append([DCBEvent("task.created", _TITLE.encode(), [name])], free)
                counts[thread] += 1
        except Exception as error:  # noqa: BLE001 - reported by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(thread,)) for thread in range(LIBRARY_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise NotMeasured(f"the library failed: {errors[0]!r}")
    return sum(counts) / (time.perf_counter() - begun)
