"""One key, one request: a batch is settled whole, whatever interrupts it and whoever else sends it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

import application.batches
from application.log import Append, Appended, LogUnavailable
from infrastructure.limits.batch_turns import BatchTurns
from tests.api.test_batch import creation, of, send
from tests.api_world import ROOT, World, problem


def mixed(world: World) -> list[dict[str, Any]]:
    """Commands with every kind of outcome."""
    task = world.ada.task()
    stranger = str(world.eve.principal_id)
    return [
        creation("once"),
        of(task, "start"),
        of(uuid4(), "start"),
        of(task, "start"),
        of(task, "assign", assignee=stranger),
        {"command": {"command": "start"}},
        of(task, "rename", title="a") | {"if_match": 77},
        of(task, "complete"),
        of(task, "cancel"),
    ]


def test_the_same_batch_brings_the_original_answer_back_byte_for_byte(world: World) -> None:
    commands, key = mixed(world), uuid4().hex
    first = send(world.ada, *commands, idempotency_key=key)
    assert [result["status"] for result in first.json()["results"]] == [201, 200, 404, 200, 422, 400, 412, 200, 409]
    assert "idempotency-replayed" not in first.headers
    world.ada.post(f"/tasks/{commands[1]['task_id']}/reopen")
    before = world.api.head()
    again = send(world.ada, *commands, idempotency_key=key)
    assert (again.content, again.headers["x-position"]) == (first.content, first.headers["x-position"])
    assert again.headers["idempotency-replayed"] == "true"
    assert world.api.head() == before


def test_another_batch_with_the_key_is_refused_and_nothing_of_it_is_done(world: World) -> None:
    key = uuid4().hex
    send(world.ada, creation("one"), idempotency_key=key)
    before = world.api.head()
    for commands in ([creation("one"), creation("two")], [creation("two")]):
        problem(send(world.ada, *commands, idempotency_key=key), 422, "idempotency_key_reused")
    assert world.api.head() == before


def test_a_single_command_and_a_batch_never_share_a_key(world: World) -> None:
    single, batch = {"Idempotency-Key": uuid4().hex}, uuid4().hex
    world.ada.post("/tasks", {"title": "x"}, headers=single)
    problem(send(world.ada, creation("x"), idempotency_key=single["Idempotency-Key"]), 422, "idempotency_key_reused")
    send(world.ada, creation("x"), idempotency_key=batch)
    problem(world.ada.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": batch}), 422, "idempotency_key_reused")


@pytest.mark.parametrize("suffix", ["#0", "#1", "\\n0", "/0", " 0"])
def test_no_key_of_a_client_is_that_of_a_command_within_a_batch(world: World, suffix: str) -> None:
    key = uuid4().hex
    assert send(world.ada, creation(), creation(), idempotency_key=key).status_code == 200
    alone = world.ada.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": key + suffix})
    assert (alone.status_code, "idempotency-replayed" in alone.headers) == (201, False)


def test_two_users_may_use_the_same_key(world: World) -> None:
    key, before = uuid4().hex, world.api.head()
    assert {send(user, creation(), idempotency_key=key).status_code for user in (world.ada, world.eve)} == {200}
    assert world.api.head() == before + 2


def test_copies_that_arrive_together_are_one_batch(world: World) -> None:
    commands, key, before = mixed(world), uuid4().hex, world.api.head()
    headers = world.ada.headers | {"Idempotency-Key": key}
    requests = [world.api.build("POST", f"{ROOT}/tasks/batch", json={"commands": commands}, headers=headers) for _ in range(6)]
    answers = world.api.together(requests)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert world.api.head() == before + 3


class NoTurns(BatchTurns):
    """As if every batch ran in a process of its own: nothing but the log is between them."""

    @asynccontextmanager
    async def turn(self, workspace: UUID, size: int) -> AsyncIterator[None]:
        yield


def test_copies_in_different_processes_are_one_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.api.log, "batch_turns", NoTurns(1))
    commands = [creation(f"t{number}") for number in range(40)] + [of(uuid4(), "start") for _ in range(10)]
    headers, before = world.ada.headers | {"Idempotency-Key": uuid4().hex}, world.api.head()
    requests = [world.api.build("POST", f"{ROOT}/tasks/batch", json={"commands": commands}, headers=headers) for _ in range(4)]
    answers = world.api.together(requests)
    assert len({answer.content for answer in answers}) == 1
    assert world.api.head() == before + 40


def test_what_failed_for_a_reason_that_passes_is_tried_again_and_nothing_else_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, key, before = [creation(f"t{number}") for number in range(30)], uuid4().hex, world.api.head()
    append_chain, calls = world.api.log.store.append_chain, 0

    async def failing(asked: Sequence[Append]) -> list[Appended | Exception]:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise LogUnavailable("away for a moment")
        return await append_chain(asked)

    with monkeypatch.context() as patch:
        patch.setattr(application.batches, "MOST_TOGETHER", 5)
        patch.setattr(world.api.log.store, "append_chain", failing)
        first = send(world.ada, *commands, idempotency_key=key)
    statuses = [result["status"] for result in first.json()["results"]]
    assert (statuses.count(201), statuses.count(503)) == (20, 10)
    assert world.api.head() == before + statuses.count(201)
    second = send(world.ada, *commands, idempotency_key=key)
    assert {result["status"] for result in second.json()["results"]} == {201}
    assert world.api.head() == before + 30
    kept = [result for result in first.json()["results"] if result["status"] == 201]
    assert [second.json()["results"][result["index"]] for result in kept] == kept
    third = send(world.ada, *commands, idempotency_key=key)
    assert (third.content, third.headers["idempotency-replayed"]) == (second.content, "true")
