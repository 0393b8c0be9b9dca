"""How long after its receipt a command is visible in the read model in Redis: when little happens, and under load."""

import asyncio
import heapq
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import msgspec
import redis.asyncio
import uvloop

from application.receipts import ReceiptBody
from infrastructure.read_models.hot_keys import generations_pattern, hot_keys
from infrastructure.servers.redis_client import READ_MODELS, applied_channel, async_client
from infrastructure.settings import Settings
from projections import HOT
from projections.task.hot import HotKeys
from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.http_client import AsyncConnection
from tests.benchmarks.load import CONNECTIONS, LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import HOST, Bench, Server, User, creation, register

KEYS = ("lag_idle_p50_ms", "lag_idle_p99_ms", "lag_load_p99_ms")
LONGEST_PAUSE = 0.04
VISIBLE_SECONDS = 10.0
LOOK_SECONDS = 0.02


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Idle, then the highest rate, then half of it."""
    with bench.stage() as settings, bench.api(settings) as api, bench.background(settings), Progress(settings) as progress:
        user = register(api)
        progress.wait()
        idle = _run(_idle(settings, api, user, plan.idle_commands))
        highest = generator.run(HOST, api.port, creation(user), max(2.0, plan.round_seconds)).per_second
        progress.wait()
        load = _run(_under_load(settings, api, user, highest / 2, plan.load_seconds))
        progress.wait()
    pauses = f"pauses of up to {LONGEST_PAUSE * 1000:.0f} ms"
    idle_how = f"{len(idle)} commands one at a time with {pauses}, receipt received to task read in Redis"
    rate = len(load) / plan.load_seconds
    load_how = (
        f"every one of {len(load)} commands at a steady {rate:,.0f}/s, half of the {highest:,.0f}/s measured just before with "
        f"{generator.name}; receipt received to the read model's announcement, each spot check read in Redis; "
        f"p50 {percentile(load, 0.5):.1f} ms, longest {max(load):.0f} ms"
    )
    return [
        Figure("lag_idle_p50_ms", percentile(idle, 0.5), idle_how),
        Figure("lag_idle_p99_ms", percentile(idle, 0.99), f"{idle_how}; longest {max(idle):.1f} ms"),
        Figure("lag_load_p99_ms", percentile(load, 0.99), load_how),
    ]


def _run(work: Coroutine[None, None, list[float]]) -> list[float]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Visibility:
    """Follows the projector's announcements, and reads the tasks' keys in Redis to make sure."""

    def __init__(self, client: redis.asyncio.Redis, keys: HotKeys, workspace: UUID) -> None:
        self._client = client
        self._keys = keys
        self._workspace = workspace
        self._waiting: list[tuple[int, int, asyncio.Future[float]]] = []
        self._sequence = 0
        self.reached = 0

    async def follow(self, announcements: redis.asyncio.client.PubSub) -> None:
        """Listen for ever."""
        while True:
            message = await announcements.get_message(timeout=1.0)
            if message is None:
                continue
            names, _, position = message["data"].decode().partition(" ")
            if HOT in names.split(","):
                self._reach(int(position))

    def _reach(self, position: int) -> None:
        now = time.perf_counter()
        self.reached = max(self.reached, position)
        while self._waiting and self._waiting[0][0] <= self.reached:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(now)

    def announced(self, position: int) -> "asyncio.Future[float]":
        """When (perf_counter) the read model said that it has reached `position`."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if position <= self.reached:
            future.set_result(time.perf_counter())
        else:
            self._sequence += 1
            heapq.heappush(self._waiting, (position, self._sequence, future))
        return future

    async def is_readable(self, task_id: UUID) -> bool:
        """Whether Redis holds the task."""
        return bool(await self._client.exists(self._keys.task(self._workspace, task_id)))

    async def readable(self, receipt: ReceiptBody) -> float:
        """When the task could be read: looked at once, then after each announcement or 20 ms, whichever comes first."""
        deadline = time.perf_counter() + VISIBLE_SECONDS
        while not await self.is_readable(receipt.stream_id):
            if time.perf_counter() > deadline:
                raise NotMeasured(f"a task was not visible {VISIBLE_SECONDS:.0f} s after its receipt")
            await asyncio.wait([self.announced(receipt.position)], timeout=LOOK_SECONDS)
        return time.perf_counter()


@asynccontextmanager
async def watching(settings: Settings, user: User) -> AsyncIterator[Visibility]:
    """A subscribed Visibility."""
    client = async_client(settings.redis_url, READ_MODELS, 5.0)
    async with client.pubsub(ignore_subscribe_messages=True) as announcements:
        await announcements.subscribe(applied_channel(settings.log_name))
        visibility = Visibility(client, hot_keys(settings.log_name, await _generation(client, settings)), user.workspace_id)
        follower = asyncio.create_task(visibility.follow(announcements))
        try:
            yield visibility
        finally:
            follower.cancel()
            await asyncio.wait([follower])
    await client.aclose()


async def _generation(client: redis.asyncio.Redis, settings: Settings) -> int:
    """The newest generation that has a checkpoint."""
    pattern = f"{generations_pattern(settings.log_name)}:checkpoint"
    found = [int(key.split(b":")[-2]) async for key in client.scan_iter(match=pattern, count=1000)]
    if not found:
        raise NotMeasured("Redis holds no read model")
    return max(found)


async def _idle(settings: Settings, api: Server, user: User, count: int) -> list[float]:
    """Milliseconds from receipt to readable, one command at a time."""
    pauses, run = random.Random(4), uuid4().hex.encode()
    connection = await AsyncConnection.open(HOST, api.port)
    prepared, lags = connection.prepare(creation(user)), []
    async with watching(settings, user) as visibility:
        for number in range(count + 5):
            await asyncio.sleep(pauses.uniform(0, LONGEST_PAUSE))
            receipt = _receipt(await connection.send(prepared, b"%s-%d" % (run, number)))
            received = time.perf_counter()
            visible = await visibility.readable(receipt)
            # The first ones wake up what had never run.
            if number >= 5:
                lags.append((visible - received) * 1000)
    connection.close()
    return lags


async def _under_load(settings: Settings, api: Server, user: User, rate: float, seconds: float) -> list[float]:
    """Milliseconds from receipt to announcement of every command sent at a fixed rate, whether or not answers are late."""
    run, begun = uuid4().hex.encode(), time.perf_counter() + 0.1
    total = int(rate * seconds)
    awaited: dict[asyncio.Future[float], float] = {}
    numbers = iter(range(total))
    async with watching(settings, user) as visibility:

        async def send(connection: AsyncConnection) -> None:
            prepared = connection.prepare(creation(user))
            for number in numbers:
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                receipt = _receipt(await connection.send(prepared, b"%s-%d" % (run, number)))
                received = time.perf_counter()
                announced = visibility.announced(receipt.position)
                awaited[announced] = received
                if number % 500 == 0:
                    checks.append(asyncio.create_task(_require_readable(visibility, receipt)))

        checks: list[asyncio.Task[None]] = []
        connections = [await AsyncConnection.open(HOST, api.port) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(send(connection) for connection in connections))
        took = time.perf_counter() - begun
        for connection in connections:
            connection.close()
        await asyncio.gather(*checks)
        _, missing = await asyncio.wait(awaited, timeout=VISIBLE_SECONDS)
    if missing:
        raise NotMeasured(f"{len(missing)} of {total} commands were never announced")
    if took > 1.05 * seconds + 0.5:
        raise NotMeasured(f"the commands of {seconds:.0f} s took {took:.1f} s: the rate was not held")
    return [(announced.result() - received) * 1000 for announced, received in awaited.items()]


async def _require_readable(visibility: Visibility, receipt: ReceiptBody) -> None:
    await visibility.announced(receipt.position)
    if not await visibility.is_readable(receipt.stream_id):
        raise NotMeasured("a task was announced and could not be read")


def _receipt(answer: tuple[int, bytes, bytes]) -> ReceiptBody:
    status, _, body = answer
    if status != 201:
        raise NotMeasured(f"a command was answered {status}: {body[:200]!r}")
    return msgspec.json.decode(body, type=ReceiptBody)
