"""One coordinate: writes return it, reads wait for it, every answer says where it stands."""

import threading
from uuid import uuid4

import pytest

from domain.task.events import TaskCreated
from tests.api_world import ROOT, World, problem

# Everything that takes min_position, with the read model behind it.
READS = ["/tasks/{}", "/tasks", "/tasks?sort=due", "/tasks/counts", "/tasks/{}/history", "/changes", "/analytics/flow"]


def with_minimum(path: str, position: int) -> str:
    return f"{path}{'&' if '?' in path else '?'}min_position={position}"


@pytest.mark.parametrize("path", READS)
def test_a_read_waits_until_its_read_model_has_come_so_far(world: World, path: str) -> None:
    task = world.ada.task()
    position = world.api.head()
    projecting = threading.Timer(0.2, world.api.catch_up)
    projecting.start()
    answer = world.ada.get(with_minimum(path.format(task), position))
    projecting.join()
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["x-position"]) >= position


@pytest.mark.parametrize("path", READS)
def test_a_read_model_that_does_not_come_is_not_waited_for_for_ever(world: World, path: str) -> None:
    task = world.ada.task()
    world.api.catch_up()
    before = world.api.head()
    world.ada.post(f"/tasks/{task}/start")
    answer = world.ada.get(with_minimum(path.format(task), world.api.head()), headers={"Prefer": "wait=0"})
    problem(answer, 503, "not_yet_applied")
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["x-position"]) <= before
    world.api.catch_up()


@pytest.mark.parametrize("path", READS)
def test_a_position_in_the_future_is_refused_at_once(world: World, path: str) -> None:
    task = world.ada.task()
    world.api.catch_up()
    head = world.api.head()
    answer = world.ada.get(with_minimum(path.format(task), head + 1))
    problem(answer, 422, "position_in_the_future", "min_position")
    assert answer.headers["x-position"] == str(head)


def test_a_read_without_minimum_does_not_wait(world: World) -> None:
    task = world.ada.task()
    problem(world.ada.get(f"/tasks/{task}"), 404, "task_not_found")
    world.api.catch_up()
    assert world.ada.get(f"/tasks/{task}").status_code == 200


def test_an_answer_says_what_it_was_decided_on_and_nothing_where_that_was_nothing(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.api.catch_up()
    read_at = world.api.head()
    assert world.ada.get(f"/tasks/{task}").headers["x-position"] == str(read_at)
    assert world.ada.get(f"/tasks/{task}", headers={"If-None-Match": '"v1"'}).headers["x-position"] == str(read_at)
    written = world.ada.post("/tasks", {"title": "x"})
    assert written.headers["x-position"] == str(written.json()["position"]) == str(read_at + 1)
    late = world.ada.get(f"/tasks?min_position={read_at + 1}", headers={"Prefer": "wait=0"})
    problem(late, 503, "not_yet_applied")
    assert late.headers["x-position"] == str(read_at)
    big = b" " * (world.api.settings.max_body_bytes + 1)
    plain = world.ada.headers | {"Content-Type": "application/json"}
    on_nothing = {
        200: world.ada.get("/me"),
        204: world.ada.request("OPTIONS", "/tasks"),
        400: world.ada.post("/tasks", {}),
        404: world.ada.get("/nowhere"),
        405: world.ada.request("PUT", "/tasks"),
        413: world.api.request("POST", f"{ROOT}/tasks", content=big, headers=plain),
        415: world.ada.request("POST", "/tasks", content=b"{}"),
        422: world.ada.post("/tasks", {"title": " "}),
    }
    for status, answer in on_nothing.items():
        assert answer.status_code == status, answer.text
        assert "x-position" not in answer.headers, status


def test_a_task_that_is_not_there_was_not_there_at_a_position(world: World) -> None:
    world.ada.task()
    world.api.catch_up()
    for path in (f"/tasks/{uuid4()}", f"/tasks/{uuid4()}/history"):
        missing = world.ada.get(path)
        problem(missing, 404, "task_not_found")
        assert missing.headers["x-position"] == str(world.api.head()), path


def test_nobody_without_a_token_is_told_anything_of_the_log(world: World) -> None:
    world.ada.task()
    for method, path in [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/docs"),
        ("GET", "/nowhere"),
        ("GET", f"{ROOT}/tasks"),
        ("GET", f"{ROOT}/nowhere"),
        ("POST", f"{ROOT}/auth/login"),
        ("PUT", f"{ROOT}/auth/login"),
        ("OPTIONS", f"{ROOT}/auth/login"),
    ]:
        for headers in ({}, {"Authorization": "Bearer x"}):
            assert "x-position" not in world.api.request(method, path, headers=headers).headers, path


def test_an_error_that_nobody_foresaw_is_a_problem_with_a_trace_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("secret /etc/passwd SELECT")

    monkeypatch.setattr(world.api.log.reads, "counts", explode)
    answer = world.ada.get("/tasks/counts")
    found = problem(answer, 500, "internal_error")
    assert "x-position" not in answer.headers
    assert "secret" not in answer.text
    assert found["request_id"] == answer.headers["x-request-id"]
    assert "secret /etc/passwd" in caplog.text


def test_a_write_is_seen_by_a_read_that_names_its_position(world: World) -> None:
    written = world.ada.post("/tasks", {"title": uuid4().hex})
    projecting = threading.Timer(0.05, world.api.catch_up)
    projecting.start()
    path = with_minimum(f"/tasks/{written.json()['stream_id']}", written.json()["position"])
    answer = world.ada.get(path)
    # What it reads with is closed when the module's tests are done.
    projecting.join()
    assert answer.json()["position"] == written.json()["position"]
