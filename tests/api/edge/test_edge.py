"""The edge in front of every route: request ids, admission, and one way of being refused."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from api.edge.errors import BadRequest
from api.edge.exchange import Exchange
from api.edge.front import Admission, Edge
from domain.task.events import TaskCreated
from tests.api_world import ROOT, World, problem, serving


@pytest.fixture
def edge(world: World) -> Iterator[Edge]:
    found = world.api.app.asgi_handler
    assert isinstance(found, Edge)
    yield found
    found.admission = None


def sent(world: World, request_id: str | bytes) -> str:
    answer = world.api.exchange("GET", "/healthz", {"X-Request-Id": request_id})
    return str(answer.headers["x-request-id"])


@pytest.mark.parametrize("given", ["a", "01a20173-ae44-774a-9b1a-23512926b3c2", "req/7:x+y=@~z.1_2-3", "x" * 128])
def test_a_sane_request_id_of_the_client_is_taken(world: World, given: str) -> None:
    assert sent(world, given) == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, b"\xe9", "a\tb", 'a"b', "<b>", b"a\x1b[2J", "a,b", "a;b"])
def test_another_one_is_replaced(world: World, given: str | bytes) -> None:
    made = sent(world, given)
    assert len(made) == 24
    assert made != given


def test_every_request_has_an_id_of_its_own(world: World) -> None:
    made = {world.api.exchange("GET", "/healthz", {}).headers["x-request-id"] for _ in range(50)}
    assert len(made) == 50


def test_a_refusal_shows_its_request_id_in_header_document_and_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskmaster")
    answer = world.ada.get("/tasks/nothing", headers={"X-Request-Id": "find-me"})
    assert problem(answer, 404)["request_id"] == answer.headers["x-request-id"] == "find-me"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "taskmaster.api"]
    assert line.startswith("404 task_not_found GET /api/v1/tasks/nothing ")
    assert str(world.ada.principal_id) in line


class Admitting:
    """An admission that notes what it was asked, and refuses where it is told to."""

    def __init__(self, refuses: bool = False, waits: bool = False) -> None:
        self.asked: list[dict[str, Any]] = []
        self._refuses = refuses
        self._waits = waits

    def __call__(self, exchange: Exchange) -> Any:
        route = exchange.route.template if exchange.route else None
        principal = exchange.principal.principal_id if exchange.principal else None
        refusal = getattr(exchange.refusal, "code", None)
        self.asked.append({"route": route, "principal": principal, "refusal": refusal, "client": exchange.client})
        exchange.answer_headers.append((b"ratelimit", b'"all";r=1'))
        if self._waits:
            return self._later()
        if self._refuses:
            raise BadRequest(503, "unavailable", "slowly")
        return None

    async def _later(self) -> None:
        if self._refuses:
            raise BadRequest(503, "unavailable", "slowly")


def admit(edge: Edge, admission: Admission) -> None:
    edge.admission = admission


def test_admission_is_asked_with_route_principal_and_what_is_wrong(world: World, edge: Edge) -> None:
    admission = Admitting()
    admit(edge, admission)
    answers = [
        world.ada.get("/tasks"),
        world.api.request("GET", "/healthz"),
        world.api.request("GET", f"{ROOT}/tasks"),
        world.api.request("GET", f"{ROOT}/tasks", headers={"Authorization": "Bearer x"}),
        world.api.request("GET", "/nowhere"),
        world.ada.request("PUT", "/tasks"),
        world.ada.request("OPTIONS", "/tasks"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 401, 404, 405, 204]
    assert all(answer.headers["ratelimit"] == '"all";r=1' for answer in answers)
    found = [(asked["route"], asked["principal"] is not None, asked["refusal"]) for asked in admission.asked]
    assert found == [
        (f"{ROOT}/tasks", True, None),
        ("/healthz", False, None),
        (f"{ROOT}/tasks", False, "missing_token"),
        (f"{ROOT}/tasks", False, "invalid_token"),
        (None, False, "not_found"),
        (None, True, "method_not_allowed"),
        (None, True, None),
    ]
    assert {asked["client"] for asked in admission.asked} == {"127.0.0.1"}


@pytest.mark.parametrize("waits", [False, True])
def test_what_is_not_admitted_is_refused_before_anything_else_happens(world: World, edge: Edge, waits: bool) -> None:
    admit(edge, Admitting(refuses=True, waits=waits))
    before = world.api.head()
    problem(world.ada.post("/tasks", {"title": "x"}), 503, "unavailable")
    problem(world.api.request("GET", f"{ROOT}/tasks"), 503, "unavailable")
    problem(world.api.request("GET", "/nowhere"), 503, "unavailable")
    assert world.api.head() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"),
        ("POST", "/tasks"),
        ("POST", "/tasks/batch"),
        ("POST", "/auth/logout"),
        ("DELETE", "/auth/sessions"),
        ("GET", "/auth/sessions"),
        ("GET", "/members"),
    ],
)
def test_a_query_parameter_that_a_route_does_not_know_is_refused_before_anything_is_done(
    world: World, method: str, path: str
) -> None:
    problem(world.ada.request(method, f"{path}?curent=false"), 400, "unknown_parameter", "curent")
    problem(world.ada.request(method, f"{path}?current=false&x"), 400, "unknown_parameter")
    assert world.ada.get("/me").status_code == 200


@pytest.mark.parametrize("session", ["", "%20", "x", "{}", "urn:uuid:{}", "{{{}}}", "0x{}"])
def test_a_session_that_is_not_named_by_its_id_is_not_found_and_none_is_ended(world: World, session: str) -> None:
    path = "/auth/sessions/" + session.format(world.ada.tokens["session_id"].replace("-", ""))
    problem(world.ada.delete(path), 404)
    assert world.ada.get("/me").status_code == 200


SINGLE = ["Authorization", "Content-Type", "Idempotency-Key", "X-Correlation-Id", "Host", "Content-Length", "X-Request-Id"]


@pytest.mark.parametrize("name", SINGLE)
def test_a_header_that_means_one_thing_may_not_stand_twice(world: World, name: str) -> None:
    headers = world.ada.headers | {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex, "Host": "x"}
    headers |= {"X-Correlation-Id": str(uuid4()), "X-Request-Id": "a", "Content-Length": "14"}
    for second in (headers[name], "another"):
        answer = world.api.exchange("POST", f"{ROOT}/tasks", [*headers.items(), (name.lower(), second)], b'{"title": "x"}')
        problem(answer, 400, "repeated_header", name.lower())
    assert world.api.exchange("POST", f"{ROOT}/tasks", headers, b'{"title": "x"}').status_code == 201


def test_a_header_that_is_a_list_may_be_given_in_several_pieces(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    headers = [*world.ada.headers.items(), ("Content-Type", "application/json"), ("If-Match", '"v9"'), ("If-Match", '"v1"')]
    answer = world.api.exchange("POST", f"{ROOT}/tasks/{task}/start", headers)
    assert answer.status_code == 200, answer.text
    refused = world.api.exchange("GET", f"{ROOT}/me", [*world.ada.headers.items(), ("Accept", "a/b"), ("Accept", "text/*")])
    problem(refused, 406, "not_acceptable")


def test_with_an_access_log_every_request_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskmaster")
    with serving(msgspec.structs.replace(world.api.settings, access_log=True)) as logging_all:
        assert logging_all.request("GET", "/healthz").status_code == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "taskmaster.api"]
    assert [line.split(" client=")[0] for line in lines] == ["200 - GET /healthz"]
