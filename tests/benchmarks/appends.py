"""The log by itself: how many events a second, how long one append takes, and the library's own way beside it."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar
from uuid import UUID, uuid4

import psycopg
import uvloop
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from psycopg.conninfo import conninfo_to_dict

from application.log import Append, NewEvent
from application.receipts import receipt_start
from domain.task.events import TaskCreated
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.servers.postgres import connect, log_schema
from infrastructure.settings import Settings
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio, percentile
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Bench

KEYS = ("append_per_s", "append_one_ms", "append_vs_library")
CONCURRENT = 64
LIBRARY_THREADS = 8
LIBRARY_SCHEMA = "library"
T = TypeVar("T")
_EVENT = TaskCreated(title="Write the quarterly report", priority="high", labels=("finance",))


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Ours and the library's by turns, then single appends."""
    with bench.stage() as settings, _Library(settings) as library:
        ours, theirs = [], []
        _on_uvloop(lambda: _many(settings, 0.5))
        library.run(0.5)
        for _ in range(plan.rounds):
            ours.append(_on_uvloop(lambda: _many(settings, plan.round_seconds)))
            theirs.append(library.run(plan.round_seconds))
        milliseconds = _on_uvloop(lambda: _one_by_one(settings, plan.single_appends))
    ratio, mine, other = median_ratio(ours, theirs)
    rounds = f"medians of {plan.rounds} rounds of {plan.round_seconds:g} s"
    group = f"GroupCommitAppender, one process on uvloop, {CONCURRENT} single-event appends at a time to new streams, {rounds}"
    alone = f"p50 of {len(milliseconds)} appends one at a time, without a key; p99 {percentile(milliseconds, 0.99):.2f} ms"
    library_way = (
        f"the library's Application.save by turns: {LIBRARY_THREADS} threads, its defaults, new aggregates of one event"
    )
    return [
        Figure("append_per_s", mine, group),
        Figure("append_one_ms", percentile(milliseconds, 0.5), alone),
        Figure("append_vs_library", ratio, f"{library_way}, {rounds}", f"{mine:,.0f} / {other:,.0f} per s"),
    ]


def _on_uvloop(work: Callable[[], Coroutine[None, None, T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def _append(workspace: UUID, principal: UUID) -> Append:
    command, stream = uuid4(), uuid4()
    start = receipt_start(stream, 1)
    return Append(
        workspace_id=workspace,
        principal_id=principal,
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=(NewEvent(stream, 1, _EVENT),),
        receipt_start=start,
    )


async def _started(settings: Settings) -> GroupCommitAppender:
    schema = log_schema(settings.log_name)
    appender = GroupCommitAppender(lambda: connect(settings.database_url, schema, "benchmark"), schema)
    await appender.start()
    return appender


async def _many(settings: Settings, seconds: float) -> float:
    """Appends a second."""
    appender = await _started(settings)
    workspace, principal = uuid4(), uuid4()
    begun = time.perf_counter()

    async def repeat() -> int:
        done = 0
        while time.perf_counter() - begun < seconds:
            await appender.append(_append(workspace, principal))
            done += 1
        return done

    done = sum(await asyncio.gather(*(repeat() for _ in range(CONCURRENT))))
    elapsed = time.perf_counter() - begun
    await appender.stop()
    return done / elapsed


async def _one_by_one(settings: Settings, count: int) -> list[float]:
    """Milliseconds of each append."""
    appender = await _started(settings)
    workspace, principal = uuid4(), uuid4()
    milliseconds = []
    for number in range(count + 20):
        append = _append(workspace, principal)
        begun = time.perf_counter()
        await appender.append(append)
        # The first ones prepare the statement and its plans.
        if number >= 20:
            milliseconds.append((time.perf_counter() - begun) * 1000)
    await appender.stop()
    return milliseconds


class _LibrarysTask(Aggregate):
    """What a user of the library would write."""

    def __init__(self, title: str, priority: str, labels: list[str]) -> None:
        self.title = title
        self.priority = priority
        self.labels = labels


class _Library:
    """The library's application over its own tables in a schema of their own, as it comes."""

    def __init__(self, settings: Settings) -> None:
        given = conninfo_to_dict(settings.database_url)
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {LIBRARY_SCHEMA}")
        self._application: Application[UUID] = Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": str(given["dbname"]),
                "POSTGRES_HOST": str(given["host"]),
                "POSTGRES_PORT": str(given["port"]),
                "POSTGRES_USER": str(given["user"]),
                "POSTGRES_PASSWORD": str(given.get("password", "")),
                "POSTGRES_SCHEMA": LIBRARY_SCHEMA,
            }
        )

    def __enter__(self) -> "_Library":
        return self

    def __exit__(self, *_: object) -> None:
        self._application.close()

    def run(self, seconds: float) -> float:
        """Saved aggregates, which is events, a second."""
        begun = time.perf_counter()
        counts, errors = [0] * LIBRARY_THREADS, []

        def repeat(number: int) -> None:
            try:
                while time.perf_counter() - begun < seconds:
                    self._application.save(_LibrarysTask("Write the quarterly report", "high", ["finance"]))
                    counts[number] += 1
            except Exception as error:  # noqa: BLE001 - reported by the thread that waits
                errors.append(error)

        threads = [threading.Thread(target=repeat, args=(number,)) for number in range(LIBRARY_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise NotMeasured(f"the library failed: {errors[0]!r}")
        return sum(counts) / (time.perf_counter() - begun)
