"""What the API logs: one line a record whatever it holds, one line a refused request, and the request's id in each."""

import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.edge.log_lines import REQUEST_ID, OneLine, one_line
from infrastructure.settings import Settings
from tests.api_world import PASSWORD, ROOT, World
from tests.raw_http import RawConnection, RawServer, raw_server


@pytest.fixture(scope="module")
def server(api_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawServer]:
    with raw_server(api_settings, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def connection(server: RawServer) -> Iterator[RawConnection]:
    opened = server.connect()
    yield opened
    opened.close()


def record(message: str, *arguments: object, failing: BaseException | None = None) -> logging.LogRecord:
    failure = (type(failing), failing, failing.__traceback__) if failing is not None else None
    return logging.LogRecord("taskmaster.api", logging.INFO, __file__, 1, message, arguments, failure)


@given(st.text(st.characters(), max_size=50))
def test_no_text_ends_a_line_or_steers_a_terminal(text: str) -> None:
    line = OneLine().format(record("%s", text))
    assert len(line.splitlines()) == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", line)
    line.encode()


def test_what_was_escaped_can_be_told_from_what_was_sent(world: World) -> None:
    assert one_line("a\nb") == "a\\nb"
    assert one_line("a\\nb") == "a\\\\nb"
    assert one_line("a\x1b[31mb\u202e\u2028\x85é") == "a\\x1b[31mb\\u202e\\u2028\\x85é"
    assert one_line("\ud800") == "\\ud800"


def test_a_traceback_is_one_line_too() -> None:
    try:
        raise RuntimeError("first\r\n2026-01-01 INFO forged\x1b[2J")
    except RuntimeError as error:
        line = OneLine().format(record("failed", failing=error))
    assert len(line.splitlines()) == 1
    assert "\\r\\n2026-01-01 INFO forged\\x1b[2J" in line
    assert "Traceback" in line
    assert sys.exc_info() == (None, None, None)


def test_what_is_logged_while_a_request_is_served_carries_its_id() -> None:
    token = REQUEST_ID.set("find-me")
    try:
        assert OneLine().format(record("from anywhere")).endswith(" request_id=find-me")
    finally:
        REQUEST_ID.reset(token)
    assert "request_id" not in OneLine().format(record("outside"))


def test_every_refused_request_is_one_line_with_its_id_and_without_secrets(
    world: World, server: RawServer, connection: RawConnection
) -> None:
    secret = "a-secret-that-nobody-may-log"
    asked = {
        "unknown": ("GET", f"/nowhere?token={secret}", {}, b""),
        "method": ("PUT", f"{ROOT}/tasks", world.ada.headers, b""),
        "bearer": ("GET", f"{ROOT}/tasks", {"Authorization": f"Bearer {secret}"}, b""),
        "encoded": ("GET", "/%0d%0aforged%1b[2J/%c3%a9", {}, b""),
        "login": (
            "POST",
            f"{ROOT}/auth/login",
            {"Content-Type": "application/json"},
            json.dumps({"email": world.ada.email, "password": secret}).encode(),
        ),
    }
    for request_id, (method, target, headers, body) in asked.items():
        answer = connection.exchange(method, target, {**headers, "X-Request-Id": f"t-{request_id}"}, body)
        assert 400 <= answer.status < 500
        assert answer.headers["x-request-id"] == f"t-{request_id}"
    lines = server.log_lines()
    for request_id in asked:
        (line,) = [line for line in lines if line.endswith(f"request_id=t-{request_id}")]
        assert "client=127.0.0.1" in line
    assert secret not in "\n".join(lines)
    assert PASSWORD not in "\n".join(lines)
    assert world.ada.email not in "\n".join(lines)
    assert "\x1b" not in "\n".join(lines)


def test_requests_that_are_served_at_once_keep_their_ids_apart(world: World, server: RawServer) -> None:
    connections = [server.connect() for _ in range(20)]
    request = f"GET {ROOT}/tasks/x HTTP/1.1\r\nHost: x\r\nAuthorization: {world.ada.headers['Authorization']}\r\n"
    for number, connection in enumerate(connections):
        connection.send(f"{request}X-Request-Id: same-time-{number}\r\n\r\n".encode())
    answers = [connection.read() for connection in connections]
    assert [answer.headers["x-request-id"] for answer in answers] == [f"same-time-{number}" for number in range(20)]
    lines = server.log_lines()
    for number in range(20):
        assert len([line for line in lines if line.endswith(f"request_id=same-time-{number}")]) == 1
    for connection in connections:
        connection.close()


def test_a_request_that_was_answered_well_is_not_logged(world: World, server: RawServer, connection: RawConnection) -> None:
    before = len(server.log_lines())
    assert connection.exchange("GET", f"{ROOT}/me", world.ada.headers).status == 200
    assert len(server.log_lines()) == before


def test_the_log_keeps_its_form_after_somebody_asked_for_the_description(server: RawServer, connection: RawConnection) -> None:
    assert connection.exchange("GET", "/schema/openapi.json").status == 200
    assert connection.exchange("GET", "/%0aforged", {"X-Request-Id": "after-the-description"}).status == 404
    (line,) = [line for line in server.log_lines() if "/%0aforged" in line]
    assert line.endswith(" request_id=after-the-description")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO taskmaster\.api 404 not_found GET ", line)
