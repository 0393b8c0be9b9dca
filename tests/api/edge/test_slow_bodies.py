"""Bodies over the real server that arrive in pieces, too slowly, or never."""

import json
import time
from collections.abc import Iterator

import msgspec
import pytest

from infrastructure.settings import Settings
from tests.api_world import ROOT, User, World
from tests.raw_http import RawConnection, RawServer, raw_server


@pytest.fixture(scope="module")
def server(api_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawServer]:
    impatient = msgspec.structs.replace(api_settings, body_seconds=4.0, body_idle_seconds=0.5)
    with raw_server(impatient, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def connection(server: RawServer) -> Iterator[RawConnection]:
    opened = server.connect()
    yield opened
    opened.close()


def begin(connection: RawConnection, user: User, path: str, length: int | None, method: str = "POST") -> None:
    lines = [f"{method} {ROOT}{path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in user.headers.items()]
    lines += ["Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}", "", ""]
    connection.send("\r\n".join(lines).encode())


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch", "/auth/login"])
@pytest.mark.parametrize("length", [100, None])
def test_a_body_that_does_not_come_is_not_waited_for(
    world: World, connection: RawConnection, path: str, length: int | None
) -> None:
    begin(connection, world.ada, path, length)
    answer = connection.read("POST")
    assert (answer.status, json.loads(answer.body)["code"]) == (408, "body_too_slow")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == json.loads(answer.body)["request_id"]


def test_a_body_that_comes_in_drops_is_ended_as_a_whole(world: World, server: RawServer) -> None:
    connection = server.connect()
    begin(connection, world.ada, "/tasks", 10_000)
    began = time.monotonic()
    # Never idle for as long as would be refused, and never finished either.
    with pytest.raises(ConnectionError):
        send_drops(connection, until=began + 30)
    assert time.monotonic() - began < 15
    connection.close()


def send_drops(connection: RawConnection, until: float) -> None:
    while time.monotonic() < until:
        connection.send(b" ")
        connection.pause(0.1)


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch"])
def test_a_command_whose_session_ends_while_its_body_arrives_does_nothing(world: World, server: RawServer, path: str) -> None:
    creation = {"title": "too late"}
    command = creation if path == "/tasks" else {"commands": [{"command": {"command": "create"} | creation}]}
    body = json.dumps(command).encode()
    user = world.api.register("leaving")
    connection, asking = server.connect(), server.connect()
    begin(connection, user, path, None)
    connection.send(b"1\r\n \r\n")
    assert user.delete("/auth/sessions").status_code == 204
    while asking.exchange("GET", f"{ROOT}/me", user.headers).status == 200:
        # The other process hears of it within a second; a body without gaps is waited for meanwhile.
        connection.send(b"1\r\n \r\n")
        connection.pause(0.05)
    connection.pause(0.3)
    connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    answer = connection.read("POST")
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "session_revoked")
    for each in (asking, connection):
        each.close()


def test_a_body_in_many_pieces_arrives_whole(world: World, connection: RawConnection) -> None:
    body = json.dumps({"title": "x", "description": "y" * 3_000}).encode()
    begin(connection, world.ada, "/tasks", None)
    for at in range(0, len(body), 7):
        piece = body[at : at + 7]
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")
    assert connection.read("POST").status == 201


def test_the_time_that_a_body_takes_grows_with_its_length_and_no_faster(world: World) -> None:
    def seconds(length: int) -> float:
        chunks = [b" " * 512] * (length // 512)
        began = time.process_time()
        headers = world.ada.headers | {"Content-Type": "application/json"}
        assert world.api.exchange("POST", f"{ROOT}/tasks/batch", headers, *chunks).status_code == 400
        return time.process_time() - began

    seconds(65_536)
    small = min(seconds(1_048_576) for _ in range(3))
    large = min(seconds(8 * 1_048_576) for _ in range(3))
    # Eight times as long; copying what is there with every piece would make it sixty times.
    assert large < 24 * small
