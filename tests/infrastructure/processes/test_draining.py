"""Told to stop, the API is first taken out of rotation, then closes its port, and finishes what it has begun."""

import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from tests.infrastructure.command_line import KEY
from tests.infrastructure.processes_under_test import started, wait_until

PERSON = json.dumps({"email": "ada@example.org", "password": "correct horse battery", "display_name": "Ada"}).encode()
POST = (
    b"POST /api/v1/auth/register HTTP/1.1\r\nHost: tm.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
DRAIN_SECONDS = 2.0


@contextmanager
def serving(environ: Mapping[str, str]) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`taskmaster serve`, ready, and its port."""
    with started("infrastructure.cli.main", "serve", environ=environ) as serve:
        assert serve.stdout is not None
        yield serve, int(serve.stdout.readline().partition("http://")[2].split()[0].partition(":")[2])


@pytest.fixture
def environ(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "TASKMASTER_SECRET_KEY": KEY,
        "TASKMASTER_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }


def ask(port: int, path: str) -> tuple[int, bytes, str | None]:
    """Status, body and `Connection` of an answer; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Connection"]
    except ConnectionRefusedError:
        return 0, b"", None
    finally:
        connection.close()


class Client(threading.Thread):
    """Asks on one connection after the other as long as it is let, and counts what was answered and what was lost."""

    def __init__(self, port: int, ready: threading.Event) -> None:
        super().__init__()
        self._port = port
        self._ready = ready
        self.answered = 0
        self.lost: list[Exception] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while self._ready.is_set():
            try:
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                self.answered += answer.status == 200
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
                connection.close()
        connection.close()


def test_no_request_is_lost_while_the_api_is_taken_out_of_rotation_and_stopped(environ: dict[str, str]) -> None:
    ready = threading.Event()
    ready.set()
    with serving(environ) as (serve, port):
        clients = [Client(port, ready) for _ in range(4)]
        for client in clients:
            client.start()
        slow = socket.create_connection(("127.0.0.1", port), timeout=20)
        slow.sendall(POST % len(PERSON) + PERSON[:20])
        wait_until(lambda: all(client.answered > 5 for client in clients))
        begun = time.monotonic()
        serve.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(port, "/readyz")[0] == 503)
        told_after = time.monotonic() - begun
        assert ask(port, "/healthz")[0] == 200
        assert ask(port, "/healthz")[2] == "close"
        assert json.loads(ask(port, "/readyz")[1]) == {"status": "draining"}
        ready.clear()
        for client in clients:
            client.join()
        wait_until(lambda: _refuses(port))
        assert time.monotonic() - begun >= DRAIN_SECONDS
        slow.sendall(PERSON[20:])
        assert slow.recv(64).startswith(b"HTTP/1.1 201 ")
        slow.close()
        assert serve.wait(30) == 0
    assert told_after < DRAIN_SECONDS
    assert [client.lost for client in clients] == [[], [], [], []]


def test_a_second_signal_cuts_the_wait_short(environ: dict[str, str]) -> None:
    with serving(environ | {"TASKMASTER_DRAIN_SECONDS": "300"}) as (serve, port):
        serve.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(port, "/readyz")[0] == 503)
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(30) == 0


def test_without_a_wait_the_port_is_closed_at_once_and_what_was_begun_is_finished(environ: dict[str, str]) -> None:
    with serving(environ | {"TASKMASTER_DRAIN_SECONDS": "0"}) as (serve, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(POST % len(PERSON) + PERSON[:20])
            wait_until(lambda: ask(port, "/healthz")[0] == 200)
            serve.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(port))
            slow.sendall(PERSON[20:])
            assert slow.recv(64).startswith(b"HTTP/1.1 201 ")
        assert serve.wait(30) == 0


def _refuses(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return ask(port, "/healthz")[0] == 0
    return False
