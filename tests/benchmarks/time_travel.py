"""A task with a very long history, as of any moment of it."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
from uuid_utils.compat import uuid7

from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import Settings
from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.filling import fill, stream_appends
from tests.benchmarks.http_client import Connection, Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench, User, register

KEYS = ("as_of_10k_ms", "as_of_position_10k_ms", "as_of_instant_10k_ms")
EARLY = 100
"""Half of the moments lie among the first so many events: what came after them must not count."""


class Moments(NamedTuple):
    """Where each version of the task stands: positions, and instants of recording (several versions may share one)."""

    positions: list[int]
    instants: list[datetime]


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """GET /api/v1/tasks/{id} as of random moments, named in each of the three ways, once the read models have followed."""
    with bench.stage() as settings, bench.api(settings) as api, bench.background(settings):
        user, task_id = register(api), uuid7()
        fill(settings, stream_appends(task_id, plan.stream_events, (user.workspace_id, user.principal_id)))
        with Progress(settings) as progress:
            progress.wait()
        moments = _moments(settings, task_id)
        with api.connect() as connection:
            asking = Asking(connection, user, f"/api/v1/tasks/{task_id}", plan.time_travels)
            return [
                asking.figure("as_of_10k_ms", "version=N", lambda version: f"version={version}", moments),
                asking.figure(
                    "as_of_position_10k_ms", "as_of=position", lambda v: f"as_of={moments.positions[v - 1]}", moments
                ),
                asking.figure("as_of_instant_10k_ms", "as_of=instant", lambda v: f"as_of={_spelled(moments, v)}", moments),
            ]


class Asking:
    """One user asking for one task again and again."""

    def __init__(self, connection: Connection, user: User, path: str, times: int) -> None:
        self._connection = connection
        self._user = user
        self._path = path
        self._times = times
        self._chance = random.Random(uuid4().int)

    def figure(self, key: str, name: str, query: Callable[[int], str], moments: Moments) -> Figure:
        """The p50 of random versions, or of early ones where that is more."""
        versions = len(moments.positions)
        early = self._milliseconds(query, min(EARLY, versions))
        anywhere = self._milliseconds(query, versions)
        answer = msgspec.json.decode(self._connection.send(self._request(query(versions))).body)
        if answer["version"] != versions:
            raise NotMeasured(f"asked for the last of {versions} versions, got {answer['version']}")
        how = (
            f"GET /api/v1/tasks/{{id}}?{name}, one at a time, in a stream of {versions:,} events: the greater p50 of "
            f"{self._times} "
            f"random moments ({percentile(anywhere, 0.5):.1f} ms, p99 {percentile(anywhere, 0.99):.1f}) and as many among the "
            f"first {EARLY} events ({percentile(early, 0.5):.1f} ms, p99 {percentile(early, 0.99):.1f})"
        )
        return Figure(key, max(percentile(early, 0.5), percentile(anywhere, 0.5)), how)

    def _milliseconds(self, query: Callable[[int], str], versions: int) -> list[float]:
        taken = [
            self._connection.timed(self._request(query(self._chance.randint(1, versions)))) for _ in range(self._times + 10)
        ]
        return taken[10:]

    def _request(self, query: str) -> Request:
        return Request("GET", f"{self._path}?{query}", self._user.headers)


def _moments(settings: Settings, task_id: UUID) -> Moments:
    with connect_sync(settings.database_url, log_schema(settings.log_name)) as connection:
        rows = connection.execute(
            "SELECT notification_id, recorded_at FROM events WHERE originator_id = %s ORDER BY originator_version", (task_id,)
        ).fetchall()
    return Moments([row[0] for row in rows], [row[1] for row in rows])


def _spelled(moments: Moments, version: int) -> str:
    return quote(moments.instants[version - 1].isoformat())
