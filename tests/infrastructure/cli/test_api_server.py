"""The server in front of the application, started as it ships: who gets in while many connections are open."""

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from infrastructure.cli import starting
from infrastructure.processes.child_process import start_process, stop_process
from infrastructure.settings import Settings, child_environ

PROJECT = Path(__file__).parents[3]
READY_SECONDS = 60.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _started(settings: Settings, log: Path, command: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return start_process(
            command or starting.api(settings)[0].command,
            environ={**child_environ(settings), "PYTHONPATH": str(PROJECT)},
            death_signal=signal.SIGTERM,
            working_dir=str(PROJECT),
            output=output,
        )


@contextmanager
def _served(settings: Settings, log: Path) -> Iterator[int]:
    port = _free_port()
    process = _started(msgspec.structs.replace(settings, port=port), log)
    try:
        _wait_until_ready(process, port, log)
        yield port
    finally:
        stop_process(process, signal.SIGTERM, 15)


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            if _status(port, 2) == 200:
                return
    pytest.fail(log.read_text(errors="replace"))


def _status(port: int, seconds: float) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status


def _silent(stack: ExitStack, port: int, count: int) -> None:
    for _ in range(count):
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=str(tmp_path),
        secret_key="a key of tests that is long enough to be one",
    )


def test_more_than_a_thousand_silent_connections_keep_nobody_out(settings: Settings, tmp_path: Path) -> None:
    with _served(settings, tmp_path / "api.log") as port, ExitStack() as stack:
        _silent(stack, port, 1_100)
        assert _status(port, 20) == 200


def test_control_past_its_bound_of_connections_the_server_lets_nobody_in(settings: Settings, tmp_path: Path) -> None:
    few = msgspec.structs.replace(settings, max_connections=16)
    with _served(few, tmp_path / "api.log") as port, ExitStack() as stack:
        _silent(stack, port, 40)
        with pytest.raises(TimeoutError):
            _status(port, 1)


def _wait_until_importing(log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if "importing" in log.read_text(errors="replace"):
            return
    pytest.fail("the server has no worker")


def _stopped_while_starting(settings: Settings, log: Path, module: str = "infrastructure.processes.granian_server") -> str:
    """What the server says when it is told to stop while its worker is still importing the application."""
    others = {
        "infrastructure.processes.granian_server": module,
        "api.app:create_app": "tests.infrastructure.never_ready:create_app",
    }
    starts = starting.api(msgspec.structs.replace(settings, port=_free_port()))[0].command
    command = [others.get(word, word) for word in starts]
    # Sooner than the server would: what matters is that it has to, not how long it waits.
    command[command.index("--workers-kill-timeout") + 1] = "2"
    process = _started(settings, log, command)
    try:
        _wait_until_importing(log)
        process.send_signal(signal.SIGTERM)
        process.wait(READY_SECONDS)
    finally:
        stop_process(process, signal.SIGKILL, 5)
    return log.read_text(errors="replace")


def test_a_server_that_is_stopped_while_it_starts_need_not_kill_its_worker(settings: Settings, tmp_path: Path) -> None:
    assert "Killing worker" not in _stopped_while_starting(settings, tmp_path / "api.log")


def test_control_a_worker_that_keeps_the_servers_signals_has_to_be_killed(settings: Settings, tmp_path: Path) -> None:
    assert "Killing worker" in _stopped_while_starting(settings, tmp_path / "api.log", "granian")
