"""POST /tasks/batch: every command on its own, those of one task in order, all of them under one key."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from domain.task.events import TaskCreated, TaskDeleted
from tests.api_world import User, World, problem


def send(user: User, *commands: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return user.post("/tasks/batch", {"commands": list(commands)}, headers=named)


def of(task: UUID, command: str, **fields: object) -> dict[str, Any]:
    return {"task_id": str(task), "command": {"command": command, **fields}}


def creation(title: str = "Ship it") -> dict[str, Any]:
    return {"command": {"command": "create", "title": title}}


def test_results_stand_in_the_order_of_the_commands(world: World) -> None:
    first, second = world.ada.task(), world.ada.task()
    answer = send(world.ada, of(second, "complete"), creation(), of(first, "start"), of(second, "reopen"))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert [result["status"] for result in results] == [200, 201, 200, 200]
    assert [results[index]["receipt"]["stream_id"] for index in (0, 2, 3)] == [str(second), str(first), str(second)]


def test_commands_of_one_task_are_carried_out_in_order(world: World) -> None:
    task = world.ada.task()
    titles = [f"title {number}" for number in range(50)]
    answer = send(world.ada, *(of(task, "rename", title=title) for title in titles))
    assert [result["receipt"]["version"] for result in answer.json()["results"]] == list(range(2, 52))
    records = world.api.events(task, after=1)
    assert [getattr(record.event, "title", "") for record in records] == titles


def test_each_command_is_refused_on_its_own(world: World) -> None:
    mine, foreign = world.ada.task(), world.eve.task()
    deleted = world.ada.record(TaskCreated("Gone"), TaskDeleted())
    answer = send(
        world.ada,
        of(foreign, "complete"),
        of(uuid4(), "complete"),
        of(deleted, "start"),
        of(mine, "assign", assignee=str(world.eve.principal_id)),
        of(mine, "complete"),
    )
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [404, 404, 409, 422, 200]
    assert results[0]["problem"] == results[1]["problem"]
    assert results[3]["problem"]["errors"][0]["pointer"] == "/assignee"
    assert len(world.api.events(foreign)) == 1


def test_the_position_is_that_of_the_newest_event_among_them(world: World) -> None:
    task = world.ada.task()
    answer = send(world.ada, of(task, "start"), creation(), of(task, "complete"), of(uuid4(), "start"))
    positions = [result["receipt"]["position"] for result in answer.json()["results"] if "receipt" in result]
    assert answer.json()["position"] == max(positions)
    assert answer.headers["x-position"] == str(max(positions))


def test_a_batch_in_which_everything_is_refused_says_where_that_was_decided(world: World) -> None:
    task = world.ada.task()
    done = world.ada.post(f"/tasks/{task}/complete").json()["position"]
    world.ada.task()
    for commands, least in (([of(task, "cancel")], done), ([of(uuid4(), "start"), of(task, "cancel")], done)):
        answer = send(world.ada, *commands)
        assert (answer.json()["position"], answer.headers["x-position"]) == (least, str(least))
    head = world.api.head()
    for headers in ({}, {"idempotency_key": uuid4().hex}):
        assert send(world.ada, of(uuid4(), "start"), **headers).json()["position"] == head


def test_the_events_share_a_correlation_and_have_command_ids_of_their_own(world: World) -> None:
    task = world.ada.task()
    send(world.ada, of(task, "start"), of(task, "complete"))
    first, second = world.api.events(task, after=1)
    assert first.correlation_id == second.correlation_id
    assert first.command_id != second.command_id


def test_a_version_that_was_seen_guards_a_command(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"})
    guarded = of(task, "rename", title="Sell it") | {"if_match": 1}
    [refused] = send(world.ada, guarded).json()["results"]
    assert (refused["status"], refused["problem"]["code"]) == (412, "precondition_failed")
    [accepted] = send(world.ada, guarded | {"if_match": 2}).json()["results"]
    assert accepted["status"] == 200


def test_a_thousand_commands_are_accepted_and_one_more_is_not(world: World) -> None:
    task = world.ada.task()
    line = [of(task, "log-activity".replace("-", "_"), activity="x")] * 1000
    assert {result["status"] for result in send(world.ada, *line).json()["results"]} == {200}
    problem(send(world.ada, *line, line[0]), 400, "invalid_body", "/commands")
    assert len(world.api.events(task)) == 1001


def test_no_command_at_all_is_refused(world: World) -> None:
    problem(send(world.ada), 400, "invalid_body", "/commands")


def test_one_malformed_command_refuses_the_whole_batch_and_says_which(world: World) -> None:
    task = world.ada.task()
    problem(send(world.ada, of(task, "start"), of(task, "explode")), 400, "invalid_body")
    problem(send(world.ada, of(task, "start"), of(task, "rename")), 400, "invalid_body")
    assert len(world.api.events(task)) == 1


def test_a_task_is_created_under_a_chosen_id_and_changed_in_one_batch(world: World) -> None:
    chosen = uuid4()
    answer = send(world.ada, creation() | {"task_id": str(chosen)}, of(chosen, "start"), of(chosen, "complete"))
    assert [result["status"] for result in answer.json()["results"]] == [201, 200, 200]
    assert {result["receipt"]["stream_id"] for result in answer.json()["results"]} == {str(chosen)}
    assert world.ada.shown(chosen)["status"] == "completed"


def test_the_id_may_stand_in_the_command_as_it_does_alone(world: World) -> None:
    chosen, other = uuid4(), uuid4()
    command = {"command": {"command": "create", "title": "Ship it", "task_id": str(chosen)}}
    answer = send(world.ada, command, of(chosen, "start"), command | {"task_id": str(other)}, command)
    assert [result["status"] for result in answer.json()["results"]] == [201, 200, 400, 409]
    assert answer.json()["results"][2]["problem"]["errors"][0]["pointer"] == "/task_id"


def test_everything_but_a_creation_names_its_task(world: World) -> None:
    [result] = send(world.ada, {"command": {"command": "start"}}).json()["results"]
    assert (result["status"], result["problem"]["errors"][0]["pointer"]) == (400, "/task_id")


def test_members_are_looked_up_once_for_all_its_commands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[UUID] = []
    check = world.api.log.handler.check
    look_up = check._members_of

    async def counted(workspace_id: UUID) -> frozenset[UUID]:
        asked.append(workspace_id)
        return await look_up(workspace_id)

    monkeypatch.setattr(check, "_members_of", counted)
    me, stranger = str(world.ada.principal_id), str(world.eve.principal_id)
    commands = [{"command": {"command": "create", "title": "x", "assignees": [who]}} for who in [me, stranger] * 20]
    answer = send(world.ada, *commands)
    assert [result["status"] for result in answer.json()["results"]] == [201, 422] * 20
    assert asked == [world.ada.workspace_id]


def test_a_condition_on_the_whole_batch_is_refused_instead_of_ignored(world: World) -> None:
    task = world.ada.task()
    answer = world.ada.post("/tasks/batch", {"commands": [of(task, "start")]}, headers={"If-Match": '"v1"'})
    problem(answer, 400, "invalid_if_match", "If-Match")
    assert len(world.api.events(task)) == 1


def at(address: str, command: str, **fields: object) -> dict[str, Any]:
    return {"task": address, "command": {"command": command, **fields}}


def numbered(user: User) -> tuple[str, str]:
    """A new task by its id and by its address."""
    receipt = user.post("/tasks", {"title": "Ship it"}).json()
    return receipt["stream_id"], f"TASKS-{receipt['number']}"


def test_a_command_of_a_batch_may_name_its_task_by_key_and_number(world: World) -> None:
    (first, its_address), (second, other) = numbered(world.ada), numbered(world.ada)
    named = (at(its_address, "start"), of(UUID(second), "start"), at(other, "complete"), at(its_address, "complete"))
    results = send(world.ada, *named)
    receipts = [result["receipt"] for result in results.json()["results"]]
    assert [receipt["stream_id"] for receipt in receipts] == [first, second, second, first]
    assert [receipt["version"] for receipt in receipts] == [2, 2, 3, 3]


def test_an_address_that_leads_nowhere_is_a_task_that_is_not_there_for_its_command_alone(world: World) -> None:
    mine = world.ada.task()
    answer = send(world.ada, at("TASKS-999", "start"), at("NONE-1", "start"), of(mine, "start"), of(uuid4(), "start"))
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [404, 404, 200, 404]
    assert results[0]["problem"] == results[1]["problem"] == results[3]["problem"]


def test_a_command_is_refused_that_names_its_task_twice_or_a_new_one_by_an_address(world: World) -> None:
    task, address = numbered(world.ada)
    creating = {"task": address, **creation()}
    results = send(world.ada, {**of(UUID(task), "start"), "task": address}, creating).json()["results"]
    assert [(result["status"], result["problem"]["errors"][0]["pointer"]) for result in results] == [(400, "/task")] * 2
    assert len(world.api.events(UUID(task))) == 1


@pytest.mark.parametrize("address", ["tasks-1", "TASKS-0", "TASKS-01", "TASKS", "TASKS-1-1", ""])
def test_what_can_be_no_address_is_refused_with_the_whole_batch(world: World, address: str) -> None:
    task = world.ada.task()
    refusal = send(world.ada, of(task, "start"), at(address, "start"))
    problem(refusal, 400, "invalid_body", "/commands/1/task")
    assert len(world.api.events(task)) == 1


def test_an_address_with_a_line_end_is_none(world: World) -> None:
    _, address = numbered(world.ada)
    (result,) = send(world.ada, at(f"{address}\n", "start")).json()["results"]
    assert (result["status"], result["problem"]["errors"][0]["pointer"]) == (400, "/task")


def test_a_keyed_batch_with_addresses_brings_its_answer_back_also_after_the_task_has_moved(world: World) -> None:
    _, address = numbered(world.ada)
    other = world.ada.post("/projects", {"key": "OTHER", "name": "Other"}).json()["stream_id"]
    first = send(world.ada, at(address, "start"), idempotency_key="addressed")
    assert world.ada.post(f"/tasks/{address}/move", {"project_id": other}).status_code == 200
    again = send(world.ada, at(address, "start"), idempotency_key="addressed")
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
