"""A trial: processes that are replaced whenever they end, clients that load them, and the verdict."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
import redis

from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.servers.postgres import models_schema
from infrastructure.settings import Settings
from tests.faults.gateway import Gateway
from tests.faults.laboratory import Laboratory
from tests.faults.load import Client
from tests.faults.log_check import log_violations
from tests.faults.read_check import read_violations
from tests.faults.view_check import view_violations
from tests.faults.zygotes import Forked, Order, Zygote

KILLED = -9
CATCH_UP_SECONDS = 5.0


class Verdict(msgspec.Struct):
    """What a trial did and what it found wrong."""

    name: str
    seed: int
    violations: list[str] = []
    kills: Counter[str] = msgspec.field(default_factory=Counter)
    numbers: dict[str, float] = {}
    seconds: float = 0.0

    def require(self) -> "Verdict":
        """Itself; AssertionError that says how to repeat the trial if anything was wrong."""
        shown = "\n  ".join(self.violations[:12])
        assert not self.violations, (
            f"{self.name}, seed {self.seed}: {len(self.violations)} violations\n  {shown}\n"
            f"repeat with: python -m tests.faults --only {self.name!r} --seed {self.seed}"
        )
        return self


class Trial:
    """Everything of one trial that lives on one event loop."""

    def __init__(
        self,
        laboratory: Laboratory | None,
        name: str,
        seed: int,
        sabotage: Sequence[str] = (),
        settings: Settings | None = None,
    ) -> None:
        self._laboratory = laboratory
        self.settings = settings or _laboratory(laboratory).fresh()
        self.verdict = Verdict(name, seed)
        self.gateway = Gateway()
        self.clients: list[Client] = []
        self.stop = asyncio.Event()
        self.draining = False
        self.on_end: list[Callable[[], None]] = []
        self._sabotage = tuple(sabotage)
        self._forked: set[Forked] = set()
        self._sockets = 0
        self._jobs: list[asyncio.Task[Any]] = []
        self._begun = time.monotonic()

    async def __aenter__(self) -> "Trial":
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.stop.set()
        self.draining = True
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.gateway.close()
        for child in list(self._forked):
            await self.kill(child)
        for each in self.on_end:
            each()
        self.verdict.seconds = time.monotonic() - self._begun

    @property
    def laboratory(self) -> Laboratory:
        """Where it takes place."""
        return _laboratory(self._laboratory)

    def spawn(self, zygote: Zygote | None = None, **order: Any) -> Forked:
        """Fork a child, of another release if its zygote is given."""
        if order["role"] == "api":
            self._sockets += 1
            order["socket"] = str(self.laboratory.folder / f"api-{id(self)}-{self._sockets}.sock")
        order = {"sabotage": self._sabotage} | order
        child = (zygote or self.laboratory.zygote).fork(Order(**order), self.settings)
        self._forked.add(child)
        child.ended.add_done_callback(lambda _: self._forked.discard(child))
        return child

    async def kill(self, child: Forked) -> int:
        """SIGKILL for a child, and its end."""
        await asyncio.wrap_future(child.started)
        child.signal(signal.SIGKILL)
        return await ended(child)

    async def serve(self, apis: int = 1, relays: int = 1, workers: int = 1) -> None:
        """Start processes without failpoints, ready to serve."""
        children = [self.spawn(role=role) for role, number in (("relay", relays), ("worker", workers)) for _ in range(number)]
        for _ in range(apis):
            child = self.spawn(role="api")
            children.append(child)
            await self.gateway.add(child.order.socket)
        for child in children:
            await asyncio.wrap_future(child.ready)

    def load(self, clients: int, readers: float = 0.05, **how: Any) -> list[asyncio.Task[None]]:
        """Start clients that work until `stop`, each with a reader that pauses `readers` seconds; the writers' jobs."""
        writers = []
        for number in range(clients):
            client = Client(f"c{number}", self.gateway, self.settings, f"{self.verdict.name} {self.verdict.seed}")
            self.clients.append(client)
            writers.append(asyncio.create_task(client.work(self.stop, **how)))
            if readers:
                self._jobs.append(asyncio.create_task(client.read(self.stop, readers)))
        self._jobs += writers
        return writers

    async def finish(self, writers: Sequence[asyncio.Task[None]]) -> None:
        """Let every client settle what it has under way."""
        self.stop.set()
        await asyncio.gather(*writers)

    async def issue(self, commands: int, seconds: float) -> None:
        """Wait until the clients have issued so many more commands; TimeoutError after `seconds`."""
        wanted = sum(len(client.issued) for client in self.clients) + commands
        async with asyncio.timeout(seconds):
            while sum(len(client.issued) for client in self.clients) < wanted:  # noqa: ASYNC110 - counted over all clients
                await asyncio.sleep(0.01)

    async def ask_again(self, most: int = 1500) -> None:
        """Repeat acknowledged commands with their keys: each must bring its receipt back, byte for byte.

        All whose answer was once lost, and as many others as `most` allows.
        """
        for client in self.clients:
            doubtful = [issued for issued in client.issued if issued.unknown]
            others = [issued for issued in client.issued if not issued.unknown]
            asked = [*doubtful, *others[:: max(1, len(self.clients) * len(others) // most)]]
            for start in range(0, len(asked), 16):
                some = asked[start : start + 16]
                answers = await asyncio.gather(*(client.ask_again(issued) for issued in some))
                self.verdict.numbers["asked again"] = self.verdict.numbers.get("asked again", 0) + len(some)
                for issued, answer in zip(some, answers, strict=True):
                    if issued.receipt is not None and answer != issued.receipt:
                        self.verdict.violations.append(f"{issued.key} asked again: {answer!r} instead of {issued.receipt!r}")

    async def caught_up(self, seconds: float = CATCH_UP_SECONDS) -> float:
        """Wait until every read model has reached the log's head; how long it took. Too long is a violation."""
        begun = time.monotonic()
        while behind := await asyncio.to_thread(self._behind):
            if time.monotonic() - begun > seconds:
                self.verdict.violations.append(f"not caught up within {seconds} s: {behind}")
                break
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    async def advances(self, seconds: float, when: str) -> None:
        """Wait until every read model has passed the log's present head. Too long is a violation."""
        (wanted, _, _), begun = await asyncio.to_thread(self._positions), time.monotonic()
        while (lowest := await asyncio.to_thread(self.lowest)) < wanted:
            if time.monotonic() - begun > seconds:
                self.verdict.violations.append(f"{when}: after {seconds:g} s a read model is at {lowest}, not {wanted}")
                break
            await asyncio.sleep(0.02)

    def lowest(self) -> int:
        """The position that every read model has reached, -1 while Redis holds none."""
        _, tables, hot = self._positions()
        return min(tables, hot)

    def _behind(self) -> str:
        head, tables, hot = self._positions()
        return "" if tables == hot == head else f"log {head}, tables {tables}, Redis {hot}"

    def _positions(self) -> tuple[int, int, int]:
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            head, lowest, generation = connection.execute(
                "SELECT (SELECT coalesce(max(notification_id), 0) FROM log_main.events), "
                f"(SELECT min(position) FROM {models_schema('main')}.checkpoints WHERE projection <> 'hot_tasks'), "
                f"(SELECT generation FROM {models_schema('main')}.checkpoints WHERE projection = 'hot_tasks')"
            ).fetchone() or (0, 0, 0)
        with redis.Redis.from_url(self.settings.redis_url, socket_timeout=5) as client:
            stored = client.get(hot_keys("main", generation).checkpoint)
        hot = int(stored.rsplit(b" ", 1)[1]) if stored else -1
        return head, lowest, hot

    async def judge(self, with_keys: bool = True) -> Verdict:
        """Compare log, read models and everything that clients were told."""
        checks: list[Callable[[], list[str]]] = [
            lambda: log_violations(self.settings, self.clients, with_keys),
            lambda: view_violations(self.settings),
            lambda: read_violations(self.settings, self.clients),
        ]
        for check in checks:
            self.verdict.violations += await asyncio.to_thread(check)
        commands = [issued for client in self.clients for issued in client.issued]
        self.verdict.numbers |= {
            "commands": len(commands),
            "acknowledged": sum(issued.receipt is not None for issued in commands),
            "unknown, settled by key": sum(1 for issued in commands if issued.unknown and issued.receipt is not None),
            "reads": sum(len(client.seen) for client in self.clients),
        }
        return self.verdict


def _laboratory(laboratory: Laboratory | None) -> Laboratory:
    assert laboratory is not None, "this trial has no processes of its own"
    return laboratory


async def ended(child: Forked) -> int:
    """A child's exit code, once it has one."""
    return await asyncio.shield(asyncio.wrap_future(child.ended))
