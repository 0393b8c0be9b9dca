"""Alive and ready: what operators and load balancers see, with the servers there, away and back."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from infrastructure.embedded.services import LocalServices
from projections import ALL
from tests.api_world import Api, User, World, problem, serving

READ_MODELS = set(ALL)


def models(api: Api) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in api.readiness()["read_models"]}


def test_a_process_that_answers_is_alive(api: Api) -> None:
    answer = api.request("GET", "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_readiness_tells_how_far_each_read_model_is(world: World) -> None:
    world.api.catch_up()
    task = world.ada.task()
    head = world.api.head()
    behind = models(world.api)
    assert behind.keys() == READ_MODELS
    assert {model["behind"] for model in behind.values()} == {1}
    assert all(0 < model["lag_seconds"] < 60 for model in behind.values())
    world.api.catch_up()
    ready = world.api.readiness()
    assert (ready["redis"], ready["head"]) == ("ok", head)
    for model in models(world.api).values():
        found = (model["position"], model["behind"], model["lag_seconds"], model["held"], model["parked"])
        assert found == (head, 0, 0, None, 0)
    assert world.ada.get(f"/tasks/{task}").status_code == 200


def test_whoever_is_not_the_operator_is_told_that_it_is_ready_and_nothing_else(world: World) -> None:
    world.ada.task()
    token = world.api.settings.operator_token
    for authorization in (
        "",
        "Bearer nonsense",
        f"bearer{token}",
        f"Basic {token}",
        f"Bearer {token}x",
        world.ada.headers["Authorization"],
    ):
        answer = world.api.request("GET", "/readyz", headers={"Authorization": authorization})
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        assert "x-position" not in answer.headers


def test_the_operator_is_known_however_the_scheme_is_written(world: World) -> None:
    token = world.api.settings.operator_token
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert "details" in world.api.request("GET", "/readyz", headers={"Authorization": f"{scheme} {token}"}).json()


def test_without_an_operators_token_nobody_is_the_operator(world: World) -> None:
    with serving(msgspec.structs.replace(world.api.settings, operator_token="")) as other:
        for authorization in ("Bearer ", "Bearer", "", "Bearer None"):
            answer = other.request("GET", "/readyz", headers={"Authorization": authorization})
            assert answer.json() == {"status": "ready"}


class TestWithoutRedis:
    @pytest.fixture(autouse=True)
    def redis_away(self, services: LocalServices, world: World) -> Iterator[None]:
        world.api.catch_up()
        services.kill_redis()
        yield
        services.start_redis()

    def test_the_process_is_ready_but_degraded(self, api: Api) -> None:
        answer = api.request("GET", "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert api.readiness()["redis"] == "degraded"

    def test_commands_and_reads_go_on(self, world: World) -> None:
        task = world.ada.task()
        world.api.catch_up()
        position = world.api.head()
        for path in (f"/tasks/{task}", "/tasks", "/tasks/counts", "/changes", f"/tasks/{task}/history"):
            answer = world.ada.get(f"{path}?min_position={position}")
            assert answer.status_code == 200, answer.text


class TestWithoutPostgres:
    @pytest.fixture
    def user(self, world: World) -> User:
        return world.ada

    @pytest.fixture(autouse=True)
    def postgres_away(self, services: LocalServices, user: User) -> Iterator[None]:
        user.api.catch_up()
        user.get("/tasks")
        services.kill_postgres()
        yield
        services.start_postgres()

    def test_the_process_is_alive_but_not_ready_and_commands_are_answered(self, user: User) -> None:
        assert user.api.request("GET", "/healthz").status_code == 200
        answer = user.api.request("GET", "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        refused = user.post("/tasks", {"title": "x"})
        problem(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
        for path in ("/tasks?sort=due", "/members", "/changes", "/analytics/flow", "/me", "/auth/sessions"):
            problem(user.get(path), 503)
