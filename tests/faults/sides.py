"""Two releases at work on one log: each with an API process, a relay and a worker of its own, that come and go."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.faults.gateway import Unanswered
from tests.faults.load import Client
from tests.faults.releases import Release
from tests.faults.trial import Trial, ended
from tests.faults.zygotes import Forked

REACH_SECONDS = 20.0
READS = (
    "tasks",
    "tasks?status=open&limit=5",
    "tasks?q=c0",
    "tasks/counts",
    "projects",
    "changes",
    "changes?include=task&limit=5",
    "members",
    "analytics/flow",
    "projects/TASKS",
    "tasks?as_of={position}",
    "tasks/counts?as_of={position}",
    "projects?as_of={position}",
    "tasks/diff?from=1&to={position}",
)
OF_A_TASK = ("", "/history", "?version=1", "?as_of={position}")


class Noticed(Exception):
    """A trial with a known fault has found it: the rest is not needed."""


class Side:
    """One of the releases."""

    def __init__(self, trial: Trial, release: Release, sabotage: Sequence[str] = (), layouts: str = "") -> None:
        self.release = release
        self.name = release.name
        self._trial = trial
        self._sabotage = tuple(sabotage)
        self._layouts = layouts or release.layouts
        # Looked at by one thread after the other, as long as the trial lasts.
        self._connection = psycopg.connect(trial.settings.database_url, autocommit=True)
        self._redis = redis.Redis.from_url(trial.settings.redis_url, socket_timeout=5)
        trial.on_end += [self._connection.close, self._redis.close]
        self._api: Forked | None = None
        self._workers: list[Forked] = []

    @property
    def layouts(self) -> str:
        """What its set of layouts is called."""
        return self._layouts

    def _spawn(self, role: str, **order: Any) -> Forked:
        return self._trial.spawn(self.release.zygote, role=role, sabotage=self._sabotage, **order)

    @property
    def works(self) -> bool:
        """Whether somebody projects."""
        return bool(self._workers)

    async def open(self) -> None:
        """Serve."""
        self._api = self._spawn("api")
        await self._trial.gateway.add(self._api.order.socket, self.name)

    async def close(self) -> None:
        """Serve no more."""
        assert self._api
        await self._trial.gateway.remove(self._api.order.socket)
        self._api.signal(signal.SIGTERM)
        await ended(self._api)

    async def work(self) -> None:
        """Project."""
        self._workers = [self._spawn("relay"), self._spawn("worker")]
        for each in self._workers:
            await asyncio.wrap_future(each.ready)

    async def rest(self) -> None:
        """Project no more; a batch under way is finished."""
        for each in self._workers:
            each.signal(signal.SIGTERM)
        for each in self._workers:
            await ended(each)
        self._workers = []

    async def is_ready(self, client: Client) -> bool:
        """What its API process says of itself."""
        return await self.status(client, "/readyz") == 200

    async def status(self, client: Client, path: str) -> int:
        """Of one answer."""
        return (await client.get(path, to=self.name)).status_code

    async def read(self, client: Client, path: str) -> Any:
        """The answer to a read under /api/v1 that must be a good one in the end."""
        async with asyncio.timeout(REACH_SECONDS):
            while True:
                answer = await client.get(f"/api/v1/{path}", to=self.name)
                if answer.status_code != 503:
                    assert answer.status_code == 200, (self.name, path, answer.status_code, answer.text)
                    return answer.json()
                await asyncio.sleep(0.02)

    async def find_refusals(self, client: Client, task: str, position: int, since: int = 0) -> list[str]:
        """Ask everything that can be read; the answers that may not be, whatever this release does not know. What reflects a
        position before the task was there, `since`, may lack it."""
        found = []
        for path in (*READS, *(f"tasks/{task}{more}" for more in OF_A_TASK)):
            try:
                answer = await client.get(f"/api/v1/{path.format(position=position)}", to=self.name)
            except Unanswered as why:
                found.append(f"{self.name}: GET {path}: {why}")
                continue
            if answer.status_code == 404 and min(position, int(answer.headers.get("x-position", since))) < since:
                continue
            if answer.status_code not in (200, 503):
                found.append(f"{self.name}: GET {path}: {answer.status_code} {answer.text[:300]}")
        return found

    def places(self) -> dict[str, tuple[int, str | None]]:
        """How far its read models are, and what they wait for; nothing while it has none."""
        try:
            rows = self._rows("projection, position, held, generation FROM {}.checkpoints")
        except psycopg.errors.UndefinedTable:
            return {}
        found = {name: (position, held) for name, position, held, _ in rows}
        for name, _, held, generation in rows:
            if name == "hot_tasks":
                stored: Any = self._redis.get(f"tm:{{main}}:hot-{self._layouts}:{generation}:checkpoint")
                found[name] = (int(stored.rsplit(b" ", 1)[1]) if stored else -1, held)
        return found

    def _rows(self, what: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(f"SELECT {what.format(f'log_main__{self._layouts}')}".encode()).fetchall()

    def lowest(self) -> int:
        """The position that all its read models have reached, -1 while one is not there."""
        return min((position for position, _ in self.places().values()), default=-1)

    def parked(self) -> list[tuple[Any, ...]]:
        """What was set aside."""
        return self._rows("projection, position, error FROM {}.parked ORDER BY position")

    async def reached(self, position: int, seconds: float = REACH_SECONDS) -> str:
        """Wait until all its read models have; what is wrong if they do not."""
        begun = time.monotonic()
        while await asyncio.to_thread(self.lowest) < position:
            if time.monotonic() - begun > seconds:
                return f"{self.name}: not at {position} after {seconds:g} s: {await asyncio.to_thread(self.places)}"
            await asyncio.sleep(0.05)
        return ""

    async def held(self, seconds: float = REACH_SECONDS) -> str:
        """Wait until all that it reads for is held; what is wrong if it is not."""
        begun = time.monotonic()
        while not (places := await asyncio.to_thread(self.places)) or not all(held for _, held in places.values()):
            if time.monotonic() - begun > seconds or await asyncio.to_thread(self.parked):
                return f"{self.name}: does not hold: {places}, parked: {await asyncio.to_thread(self.parked)}"
            await asyncio.sleep(0.05)
        return ""

    async def verify(self, folder: Path) -> list[str]:
        """What its `taskmaster verify --read-models` finds."""
        output = folder / f"verified by {self.name}"
        code = await ended(self._spawn("verify", output=str(output)))
        found = output.read_text().splitlines() if code == 0 else [f"ended with {code}"]
        return [f"{self.name} verifies: {line}" for line in found]
