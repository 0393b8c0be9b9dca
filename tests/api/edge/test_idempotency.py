"""Idempotency-Key: a retry brings back the original receipt, byte for byte, whatever happened since."""

import hmac
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest

from domain.task.events import TaskCreated, TaskDeleted
from infrastructure.servers.postgres import connect_sync, log_schema
from tests.api.task_routes import VERBS, routes
from tests.api_world import ROOT, World, problem


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def meaning(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Everything of an answer but the mark that it is a replay."""
    headers = {name: value for name, value in answer.headers.items() if name != "idempotency-replayed"}
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize("verb", VERBS)
def test_a_retry_returns_the_original_answer_after_other_changes_too(world: World, verb: str) -> None:
    route = next(route for route in routes(world.ada.principal_id) if route.verb == verb)
    task, headers = world.ada.record(*route.before), key()
    first = world.ada.request(route.method, route.path(task), json=route.body, headers=headers)
    assert first.status_code == 200
    world.ada.record(TaskDeleted(), task_id=task, after=len(route.before) + 1)
    again = world.ada.request(route.method, route.path(task), json=route.body, headers=headers)
    assert meaning(again) == meaning(first)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(world.api.events(task)) == len(route.before) + 2


def test_a_creation_is_carried_out_once(world: World) -> None:
    headers, before = key(), world.api.head()
    first = world.ada.post("/tasks", {"title": "Ship it"}, headers=headers)
    again = world.ada.post("/tasks", {"title": "Ship it"}, headers=headers)
    assert (first.status_code, meaning(again)) == (201, meaning(first))
    assert world.api.head() == before + 1


def test_retries_that_arrive_together_are_one_command(world: World) -> None:
    headers, before = key() | world.ada.headers, world.api.head()
    requests = [world.api.build("POST", f"{ROOT}/tasks", json={"title": "Ship it"}, headers=headers) for _ in range(10)]
    answers = world.api.together(requests)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert world.api.head() == before + 1


def test_a_key_that_settled_a_command_without_effect_replays_that_too(world: World) -> None:
    task, headers = world.ada.task(), key()
    first = world.ada.post(f"/tasks/{task}/reopen", headers=headers)
    world.ada.post(f"/tasks/{task}/complete")
    again = world.ada.post(f"/tasks/{task}/reopen", headers=headers)
    assert meaning(again) == meaning(first)
    assert len(world.api.events(task)) == 2


def test_a_key_with_another_body_is_refused(world: World) -> None:
    headers = key()
    world.ada.post("/tasks", {"title": "Ship it"}, headers=headers)
    problem(world.ada.post("/tasks", {"title": "Sail it"}, headers=headers), 422, "idempotency_key_reused")


def test_a_key_with_another_task_or_command_is_refused(world: World) -> None:
    first, second, headers = world.ada.task(), world.ada.task(), key()
    world.ada.post(f"/tasks/{first}/start", headers=headers)
    problem(world.ada.post(f"/tasks/{second}/start", headers=headers), 422, "idempotency_key_reused")
    problem(world.ada.post(f"/tasks/{first}/complete", headers=headers), 422, "idempotency_key_reused")
    assert len(world.api.events(second)) == 1


def test_two_users_may_use_the_same_key(world: World) -> None:
    headers = key()
    mine = world.ada.post("/tasks", {"title": "Ship it"}, headers=headers)
    theirs = world.eve.post("/tasks", {"title": "Another thing"}, headers=headers)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["stream_id"] != theirs.json()["stream_id"]


def test_a_refused_command_leaves_the_key_free(world: World) -> None:
    task, headers = world.ada.record(TaskCreated("Ship it"), TaskDeleted()), key()
    problem(world.ada.post(f"/tasks/{task}/start", headers=headers), 409)
    world.ada.post(f"/tasks/{task}/restore")
    assert world.ada.post(f"/tasks/{task}/start", headers=headers).status_code == 200


@pytest.mark.parametrize("value", [b"", b"x" * 256, b"caf\xc3\xa9", b"a\tb", b"a\x7fb", b"a\x00b"])
def test_a_key_that_is_none_is_refused(world: World, value: bytes) -> None:
    answer = world.ada.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": value})
    problem(answer, 400, "invalid_idempotency_key", "Idempotency-Key")


def test_the_longest_key_is_accepted(world: World) -> None:
    assert world.ada.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": "k" * 255}).status_code == 201


def test_what_is_stored_of_a_keyed_request_cannot_be_tried_out_without_the_secret_of_the_log(world: World) -> None:
    headers, body = key(), b'{"title":"Secret words"}'
    answer = world.ada.request("POST", "/tasks", content=body, headers=headers | {"Content-Type": "application/json"})
    assert answer.status_code == 201
    request = f"POST {ROOT}/tasks\n".encode() + body
    with connect_sync(world.api.settings.database_url, log_schema(world.api.settings.log_name), "test") as connection:
        stored, secret = connection.execute(
            "SELECT request_hash, request_secret FROM idempotency, log WHERE key = %s", (headers["Idempotency-Key"],)
        ).fetchone() or (b"", b"")
    assert len(secret) == 32
    assert stored == hmac.digest(secret, request, "sha256")
    assert stored != sha256(request).digest()
