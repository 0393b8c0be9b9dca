"""A served API as a process of its own, and HTTP to it byte by byte: no client in between puts anything right."""

import http.client
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from infrastructure.cli.starting import api
from infrastructure.settings import Settings, child_environ

WAIT_SECONDS = 30


class RawAnswer(NamedTuple):
    """What came back; header names are in lower case, the last of each counts."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=WAIT_SECONDS)

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def pause(self, seconds: float) -> None:
        """Let time pass, or until the server closes or answers."""
        if select.select([self._socket], [], [], seconds)[0] and not self._socket.recv(65536):
            raise ConnectionResetError("closed by the server")

    def read(self, method: str = "GET") -> RawAnswer:
        """The next answer."""
        answer = http.client.HTTPResponse(self._socket, method=method)
        answer.begin()
        body = answer.read()
        if answer.will_close:
            self._socket.close()
            self._socket = self._connected()
        return RawAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def exchange(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> RawAnswer:
        """One request, its target exactly as it is given, and its answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: taskmaster.example"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.send("\r\n".join(lines).encode("utf-8") + body)
        return self.read(method)

    def close(self) -> None:
        self._socket.close()


class RawServer(NamedTuple):
    """Where it listens, and where its standard error goes."""

    port: int
    log: Path

    def connect(self) -> RawConnection:
        return RawConnection(self.port)

    def log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


@contextmanager
def raw_server(settings: Settings, folder: Path) -> Iterator[RawServer]:
    """The API served by the real server until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = msgspec.structs.replace(settings, port=port)
    (child,) = api(settings)
    log = folder / f"server-{port}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(child.command, env=child_environ(settings), stderr=stderr, stdout=stderr)
        try:
            _wait_until_it_listens(process, port, log)
            yield RawServer(port, log)
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    pause = threading.Event()
    for _ in range(WAIT_SECONDS * 20):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pause.wait(0.05)
        finally:
            connection.close()
    raise AssertionError("the server does not answer")
