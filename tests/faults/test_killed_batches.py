"""A process that is killed within a batch, again and again: the retry with the key completes it, once."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from infrastructure.cli import starting
from infrastructure.settings import Settings, child_environ
from tests.api_world import PASSWORD, SECRET
from tests.benchmarks.servers import PROJECT, free_port, wait_until_answered
from tests.infrastructure.log_under_test import log_connection

TASKS = 40


@contextmanager
def an_api(settings: Settings) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """One API process in a program of its own, killed at the end if it still runs."""
    chosen = msgspec.structs.replace(settings, port=free_port())
    command = [part for part in starting.api(chosen)[0].command if part != "--respawn-failed-workers"]
    with (
        subprocess.Popen(command, cwd=PROJECT, env=child_environ(chosen), stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{chosen.port}/api/v1", timeout=30) as client,
    ):
        try:
            wait_until_answered(process, chosen.port, "/healthz")
            yield client, process
        finally:
            process.terminate()
            process.wait(20)


def the_batch(mine: list[UUID]) -> dict[str, Any]:
    """Creations, each with a change of the same task behind it, and something that is refused."""
    commands: list[dict[str, Any]] = []
    for task in mine:
        commands.append({"task_id": str(task), "command": {"command": "create", "title": "once"}})
        commands.append({"task_id": str(task), "command": {"command": "complete"}})
    commands += [{"task_id": str(uuid4()), "command": {"command": "start"}} for _ in range(5)]
    return {"commands": [*commands, {"command": {"command": "create", "title": "without an id"}}]}


@pytest.mark.parametrize("point", ["append.in_flight:2", "append.after_commit:2"])
def test_a_batch_that_is_killed_again_and_again_is_completed_once(database_url: str, redis_url: str, point: str) -> None:
    settings = Settings(database_url=database_url, redis_url=redis_url, secret_key=SECRET)
    body, kills = the_batch([uuid4() for _ in range(TASKS)]), 0
    person = {"email": "ada@example.org", "password": PASSWORD, "display_name": "Ada"}
    with an_api(settings) as (client, _):
        token = client.post("/auth/register", json=person).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the batch"}

    def send(client: httpx.Client) -> httpx.Response | None:
        try:
            return client.post("/tasks/batch", json=body, headers=headers)
        except httpx.TransportError:
            return None

    while kills < 3:
        with an_api(msgspec.structs.replace(settings, failpoint=point)) as (client, _):
            if send(client) is not None:
                break
            kills += 1
    with an_api(settings) as (client, _):
        first, again = send(client), send(client)
    assert first is not None
    assert again is not None
    assert kills > 1
    assert [result["status"] for result in first.json()["results"]] == [201, 200] * TASKS + [404] * 5 + [201]
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    with log_connection(database_url) as log:
        row = log.execute("SELECT count(*), count(DISTINCT originator_id), max(notification_id) FROM events").fetchone()
        # Before them the workspace's first project.
        assert row == (2 * TASKS + 2, TASKS + 2, 2 * TASKS + 2)
        receipts = [result["receipt"] for result in first.json()["results"] if "receipt" in result]
        stored = log.execute(
            "SELECT originator_id::text, originator_version, notification_id FROM events WHERE notification_id > 1"
        ).fetchall()
        assert sorted(stored) == sorted((r["stream_id"], r["version"], r["position"]) for r in receipts)
