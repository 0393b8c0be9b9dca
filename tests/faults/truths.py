"""What answers say about themselves after a crash, a restore, lost keys and a rebuild that is stopped inside its switch."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import psycopg
import redis

from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.servers.postgres import models_schema
from infrastructure.settings import Settings
from tests.faults.gateway import Unanswered
from tests.faults.laboratory import Laboratory
from tests.faults.load import Client
from tests.faults.outages import elsewhere
from tests.faults.trial import Trial, Verdict
from tests.faults.view_check import view_violations
from tests.faults.zombies import stopped

COMMANDS = 40
PATIENCE = 20.0
TRUE_SECONDS = 15.0
READ_SECONDS = 5.0
ASKED = {
    "list": "/api/v1/tasks?status=open&limit=100",
    "page": "/api/v1/tasks?",
    "counts": "/api/v1/tasks/counts?",
    "changes": "/api/v1/changes?limit=1",
    "flow": "/api/v1/analytics/flow?",
}


async def ask(client: Client, path: str) -> httpx.Response | None:
    """One answer, None where nobody answered."""
    try:
        return await client.get(path)
    except Unanswered:
        return None


def is_ok(answer: httpx.Response | None) -> bool:
    """Whether there was an answer, and a good one."""
    return answer is not None and answer.status_code == 200


async def create(client: Client, title: str) -> dict[str, Any]:
    """The receipt of a new task, however long it takes to get one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                answer = await client.post("/api/v1/tasks", {"title": title})
            except Unanswered:
                continue
            if answer.status_code == 201:
                receipt: dict[str, Any] = answer.json()
                return receipt
            await asyncio.sleep(0.02)


# A killed Postgres


def crash_after_an_applied_read(
    laboratory: Laboratory, seed: int, times: int, name: str = "applied and lost", sabotage: Sequence[str] = ()
) -> Verdict:
    """Postgres is killed right after a read model was read at a position: what it had not flushed is lost, and until it has
    been applied again no answer may pass for one of that position."""
    with elsewhere(laboratory, name, seed, tuple(sabotage)) as there:
        trial = there.trial
        there.do(trial.serve())
        client = Client("c", trial.gateway, trial.settings, f"{name} {seed}")
        there.do(_applied(client, 0))
        for number in range(1, times + 1):
            position, created = there.do(_applied(client, number))
            laboratory.services.kill_postgres()
            laboratory.services.start_postgres()
            trial.verdict.kills["Postgres killed after an applied read"] += 1
            trial.verdict.violations += there.do(_only_true_answers(client, position, created))
        return trial.verdict


async def _applied(client: Client, number: int) -> tuple[int, str]:
    receipt = await create(client, f"task {number}")
    position = int(receipt["position"])
    async with asyncio.timeout(PATIENCE):
        for path in ASKED.values():
            while not is_ok(await ask(client, f"{path}&min_position={position}")):  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.02)
    return position, receipt["stream_id"]


async def _only_true_answers(client: Client, position: int, created: str) -> list[str]:
    found = await asyncio.gather(*(_until_true(client, kind, position, created) for kind in ASKED))
    return [violation for violations in found for violation in violations]


async def _until_true(client: Client, kind: str, position: int, created: str) -> list[str]:
    violations = []
    begun = time.monotonic()
    while time.monotonic() - begun < TRUE_SECONDS:
        answer = await ask(client, f"{ASKED[kind]}&min_position={position}")
        if answer is None or answer.status_code == 503:
            await asyncio.sleep(0.01)
            continue
        reflects = int(answer.headers.get("x-position", -1))
        if answer.status_code == 200 and reflects >= position:
            if kind in ("list", "page") and created not in answer.text:
                violations.append(f"{kind} at {reflects} lacks the task that was created at {position}")
            return violations
        violations.append(f"{kind} was asked for {position} and answered {answer.status_code} at {reflects}")
        await asyncio.sleep(0.01)
    return [*violations, f"{kind} was not answered within {TRUE_SECONDS} s"]


# A restored log


async def restore(laboratory: Laboratory, seed: int, name: str = "restore", sabotage: Sequence[str] = ()) -> Verdict:
    """The database is put back to a copy while an API process lives and no worker runs: nothing of the lost part is answered,
    and no answer, refusals included, names a position that the log does not have."""
    async with Trial(laboratory, name, seed, sabotage) as trial:
        worker = trial.spawn(role="worker")
        await trial.serve(workers=0)
        client = Client("c", trial.gateway, trial.settings, f"{name} {seed}")
        for number in range(5):
            await create(client, f"kept {number}")
        await trial.caught_up(TRUE_SECONDS)
        await asyncio.to_thread(_back_up, trial.settings)
        lost = [await create(client, f"lost {number}") for number in range(COMMANDS)]
        await trial.caught_up(TRUE_SECONDS)
        for path in ASKED.values():
            await ask(client, f"{path}&min_position={lost[-1]['position']}")
        await trial.kill(worker)
        await asyncio.to_thread(_put_back, trial.settings)
        trial.verdict.kills["log restored"] += 1
        trial.verdict.violations += await _nothing_lost_is_shown(client, trial.settings, lost)
        trial.spawn(role="worker")
        await trial.caught_up(TRUE_SECONDS)
        trial.verdict.violations += await asyncio.to_thread(view_violations, trial.settings)
        return trial.verdict


async def _nothing_lost_is_shown(client: Client, settings: Settings, lost: list[dict[str, Any]]) -> list[str]:
    new = await create(client, "after the restore")
    paths = [f"/api/v1/tasks/{each['stream_id']}" for each in lost[::8]]
    asked = [*paths, *ASKED.values(), f"/api/v1/tasks/{new['stream_id']}"]
    asked += [f"{path}{'&' if '?' in path else '?'}min_position={new['position']}" for path in asked]
    answers = await asyncio.gather(*(client.get(path, prefer="wait=1") for path in asked))
    head = await asyncio.to_thread(_head, settings)
    violations = []
    for path, answer in zip(asked, answers, strict=True):
        reflects = int(answer.headers.get("x-position", 0))
        if reflects > head:
            violations.append(f"{path}: {answer.status_code} reflects {reflects}, the log ends at {head}")
        if answer.status_code == 200 and any(each["stream_id"] in answer.text for each in lost):
            violations.append(f"{path}: shows what was lost")
        if "min_position" in path and new["stream_id"] in path and answer.status_code == 404:
            violations.append(f"{path}: the task that was just acknowledged is 404 at {reflects}")
    return violations


def _database(settings: Settings) -> tuple[str, str]:
    name = str(psycopg.conninfo.conninfo_to_dict(settings.database_url)["dbname"])
    return name, settings.database_url.replace(f"/{name}?", "/postgres?")


def _back_up(settings: Settings) -> None:
    name, server = _database(settings)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
        admin.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def _put_back(settings: Settings) -> None:
    name, server = _database(settings)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        admin.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}".encode())
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("UPDATE log_main.log SET epoch = epoch + 1")


def _head(settings: Settings) -> int:
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute("SELECT coalesce(max(notification_id), 0) FROM log_main.events").fetchone()
    return int(row[0]) if row else 0


# Lost and wrong keys


async def lose_keys(
    laboratory: Laboratory,
    seed: int,
    kinds: Sequence[str] = ("t", "r", "o", "c", "w"),
    *,
    wrong_type: bool = False,
    heal_seconds: float = TRUE_SECONDS,
    name: str = "lost keys",
    sabotage: Sequence[str] = (),
) -> Verdict:
    """Keys of the read model in Redis are deleted, or replaced by ones of another type, under load."""
    chance = random.Random(seed)
    async with Trial(laboratory, name, seed, sabotage) as trial:
        await trial.serve()
        writers = trial.load(3, readers=0.01)
        await trial.issue(30, PATIENCE)
        for kind in kinds:
            client = chance.choice(trial.clients)
            await trial.advances(heal_seconds, "before a key is lost")
            generation = await asyncio.to_thread(_generation, trial.settings)
            task = await asyncio.to_thread(_lose, trial.settings, generation, kind, client, wrong_type)
            trial.verdict.kills[f"key {kind} {'of another type' if wrong_type else 'lost'}"] += 1
            if task:
                answer = await ask(client, f"/api/v1/tasks/{task}?min_position={client.newest}")
                if answer is not None and answer.status_code == 404:
                    trial.verdict.violations.append(f"a task whose key was lost is 404 at {answer.headers.get('x-position')}")
            for asked in ("list", "counts"):
                await client.look(client.newest, asked)
                await client.look(0, asked)
            await trial.issue(15, PATIENCE)
            await _built_again(trial, generation, kind, heal_seconds, (client, task) if task else None)
        await trial.finish(writers)
        await trial.caught_up(heal_seconds)
        try:
            return await trial.judge()
        except redis.ResponseError as error:
            trial.verdict.violations.append(f"Redis still holds a key of another type: {error}")
            return trial.verdict


async def _built_again(
    trial: Trial, generation: int, kind: str, seconds: float, lost: tuple[Client, str] | None = None
) -> None:
    """A lost task is found out by whoever asks for it."""
    begun = time.monotonic()
    while await asyncio.to_thread(_generation, trial.settings) == generation:
        if time.monotonic() - begun > seconds:
            trial.verdict.violations.append(f"the read model was not built again after key {kind}")
            return
        if lost:
            await ask(lost[0], f"/api/v1/tasks/{lost[1]}")
        await asyncio.sleep(0.02)


def _generation(settings: Settings) -> int:
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute(
            f"SELECT generation FROM {models_schema('main')}.checkpoints WHERE projection = 'hot_tasks'"
        ).fetchone()
    return int(row[0]) if row else 0


def _lose(settings: Settings, generation: int, kind: str, client: Client, wrong_type: bool) -> str | None:
    """Take a key away; the task if it is a task's."""
    prefix, task = hot_keys("main", generation).prefix, None
    key = f"{prefix}{kind}:{client.workspace.hex}"
    if kind == "w":
        key = f"{prefix}w"
    if kind == "t":
        task = client.tasks[0].id
        key = f"{key}:{task.replace('-', '')}"
    with redis.Redis.from_url(settings.redis_url) as connection, connection.pipeline(transaction=True) as pipeline:
        pipeline.delete(key, f"{prefix}p:{client.workspace.hex}")
        if wrong_type:
            pipeline.lpush(key, "of another type")
        pipeline.execute()
    return task


# A rebuild that is stopped


async def stop_a_rebuild(
    laboratory: Laboratory,
    seed: int,
    points: Sequence[str] = ("rebuild.table_before_commit", "rebuild.table_locked"),
    seconds: float = TRUE_SECONDS,
    name: str = "stopped rebuild",
    sabotage: Sequence[str] = (),
) -> Verdict:
    """A rebuild is stopped inside its switch, where it holds the tables: reads and workers go on all the same."""
    async with Trial(laboratory, name, seed, sabotage) as trial:
        await trial.serve()
        writers = trial.load(2, readers=0)
        await trial.issue(COMMANDS, PATIENCE)
        client = trial.clients[0]
        for point in points:
            rebuild = trial.spawn(role="rebuild", failpoint=f"{point}:1:stop", projection="task_list")
            await stopped(rebuild)
            begun = time.monotonic()
            answers = await asyncio.gather(*(ask(client, ASKED["list"]) for _ in range(20)))
            took = time.monotonic() - begun
            refused = sum(answer is None or answer.status_code != 200 for answer in answers)
            trial.verdict.kills[f"{point} stopped"] += 1
            if refused or took > READ_SECONDS:
                trial.verdict.violations.append(
                    f"{point}: {refused} of {len(answers)} reads were refused, they took {took:.1f} s"
                )
            await trial.advances(seconds, f"a rebuild stopped at {point}")
            rebuild.signal(signal.SIGCONT)
            await trial.kill(rebuild)
        await trial.finish(writers)
        await trial.caught_up(TRUE_SECONDS)
        return await trial.judge()


Trials = dict[str, Callable[[Laboratory, int], Verdict]]
TRIALS: Trials = {
    "applied and lost": lambda laboratory, seed: crash_after_an_applied_read(laboratory, seed, times=50),
    "restore": lambda laboratory, seed: asyncio.run(restore(laboratory, seed)),
    "lost keys": lambda laboratory, seed: asyncio.run(lose_keys(laboratory, seed, ("t", "r", "o", "c", "w") * 3)),
    "wrong keys": lambda laboratory, seed: asyncio.run(
        lose_keys(laboratory, seed, ("r", "o", "c", "w") * 3, wrong_type=True, name="wrong keys")
    ),
    "stopped rebuild": lambda laboratory, seed: asyncio.run(stop_a_rebuild(laboratory, seed)),
}
"""The long forms, by name."""
