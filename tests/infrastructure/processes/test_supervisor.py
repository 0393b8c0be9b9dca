"""The supervisor: what it restarts, how it stops, and that nothing outlives it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infrastructure.cli.starting import everything, with_port
from infrastructure.settings import ConfigurationError, Settings, child_environ
from tests.infrastructure.processes_under_test import is_alive, kill, started, wait_until

NOTE_START = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')"
FOR_EVER = "time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
# A grandchild, as an ASGI server's worker process is one; it also ignores being asked to stop.
WITH_GRANDCHILD = (
    "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
    " signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'])"
    "; open(sys.argv[1] + '.grandchild', 'a').write(f'{child.pid}\\n')"
)
NOTE_STOP = (
    "import signal; signal.signal(signal.SIGTERM,"
    " lambda *_: (open(sys.argv[1] + '.stopped', 'a').write(f'{time.monotonic()}'), os._exit(0)))"
)


class Stand:
    """A supervisor in a process of its own over small programs that note each start in a file."""

    def __init__(self, folder: Path, supervisor: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.supervisor = supervisor

    def starts(self, name: str) -> list[int]:
        """Process ids of the program's starts so far, the last one still running or not."""
        return self._numbers(name)

    def grandchildren(self, name: str) -> list[int]:
        return self._numbers(f"{name}.grandchild")

    def stopped_at(self, name: str) -> float:
        return float((self.folder / f"{name}.stopped").read_text())

    def wait_for_starts(self, name: str, count: int) -> None:
        wait_until(lambda: len(self.starts(name)) >= count)

    def _numbers(self, file: str) -> list[int]:
        path = self.folder / file
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_child_that_dies_is_started_again_and_its_own_children_go_with_it(folder: Path) -> None:
    with _supervising(folder, {"api": [WITH_GRANDCHILD, NOTE_START, FOR_EVER]}) as stand:
        stand.wait_for_starts("api", 1)
        first, grandchild = stand.starts("api")[0], stand.grandchildren("api")[0]
        kill(first)
        stand.wait_for_starts("api", 2)
        assert not is_alive(grandchild)
        assert is_alive(stand.starts("api")[-1])


def test_a_child_that_keeps_dying_is_started_less_and_less_often(folder: Path) -> None:
    with _supervising(folder, {"api": [NOTE_START, "sys.exit(3)"]}) as stand:
        stand.wait_for_starts("api", 3)
        stand.supervisor.terminate()
        _, told = stand.supervisor.communicate()
    waits = [line.rpartition(" in ")[2] for line in told.splitlines() if "exit code 3" in line]
    assert waits[:3] == ["0.2 s", "0.4 s", "0.8 s"][: len(waits)]
    assert len(waits) >= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_ranks_in_order_and_ends_with_success(folder: Path, number: signal.Signals) -> None:
    programs = {name: [NOTE_STOP, NOTE_START, FOR_EVER] for name in ("api", "relay", "workers")}
    with _supervising(folder, programs, ranks={"api": 0, "relay": 1, "workers": 1}) as stand:
        for name in programs:
            stand.wait_for_starts(name, 1)
        stand.supervisor.send_signal(number)
        assert stand.supervisor.wait(20) == 0
        assert stand.stopped_at("api") < min(stand.stopped_at("relay"), stand.stopped_at("workers"))
        assert not any(is_alive(stand.starts(name)[0]) for name in programs)


def test_a_child_that_does_not_stop_is_killed_with_its_own_children(folder: Path) -> None:
    with _supervising(folder, {"api": [WITH_GRANDCHILD, DEAF, NOTE_START, FOR_EVER]}, stop_seconds=0.5) as stand:
        stand.wait_for_starts("api", 1)
        stand.supervisor.terminate()
        assert stand.supervisor.wait(20) == 0
        assert not is_alive(stand.starts("api")[0])
        wait_until(lambda: not is_alive(stand.grandchildren("api")[0]))


def test_the_children_end_when_the_supervisor_is_killed(folder: Path) -> None:
    with _supervising(folder, {"api": [NOTE_START, FOR_EVER]}) as stand:
        stand.wait_for_starts("api", 1)
        kill(stand.supervisor.pid)
        wait_until(lambda: not is_alive(stand.starts("api")[0]))


def test_the_first_free_port_is_chosen_and_a_taken_one_refused() -> None:
    chosen = with_port(Settings())
    with _listening(chosen.port):
        assert with_port(Settings()).port > chosen.port
        with pytest.raises(ConfigurationError, match=f"TASKMASTER_PORT: {chosen.port} "):
            with_port(Settings(port=chosen.port))


def test_dev_says_where_it_answers_and_stops_everything_on_ctrl_c(open_folder: Path, folder: Path) -> None:
    data_dir = open_folder / "dev"
    with started("tests.infrastructure.run_dev", str(data_dir)) as dev:
        assert dev.stdout is not None
        ready = dev.stdout.readline()
        host, _, port = ready.partition("http://")[2].split()[0].partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/healthz")
        answered = json.loads(connection.getresponse().read())
        assert answered["DATABASE_URL"].startswith("postgresql://")
        assert len(answered["TASKMASTER_SECRET_KEY"]) >= 32
        os.kill(dev.pid, signal.SIGINT)
        _, told = dev.communicate(timeout=30)
    assert (dev.returncode, told) == (0, "")
    assert "database system is shut down" in (data_dir / "postgres.log").read_text()
    assert not is_alive(answered["pid"])


def test_dev_that_is_told_to_stop_while_starting_leaves_nothing_behind(open_folder: Path) -> None:
    data_dir = open_folder / "early"
    with started("tests.infrastructure.run_dev", str(data_dir)) as dev:
        wait_until((data_dir / "initdb.log").exists)
        dev.terminate()
        _, told = dev.communicate(timeout=30)
    assert (dev.returncode, told) == (0, "")


@pytest.mark.parametrize(
    ("command", "environ", "told_of"),
    [
        ("dev", {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "DATABASE_URL"),
        ("dev", {"REDIS_URL": "redis://127.0.0.1:1/0"}, "REDIS_URL"),
        ("dev", {"TASKMASTER_PORT": "eighty"}, "TASKMASTER_PORT"),
        ("work", {}, "DATABASE_URL"),
        ("serve", {}, "TASKMASTER_SECRET_KEY"),
        ("migrate", {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "DATABASE_URL"),
    ],
)
def test_a_start_that_cannot_work_is_one_line_and_exit_code_2(
    folder: Path, command: str, environ: dict[str, str], told_of: str
) -> None:
    blank = {
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "TASKMASTER_SECRET_KEY": "",
        "TASKMASTER_DATA_DIR": str(folder / "none"),
    }
    with started("infrastructure.cli.main", command, environ=blank | environ) as program:
        _, told = program.communicate(timeout=20)
    assert program.returncode == 2
    assert told.startswith(f"error: {told_of}")
    assert told.count("\n") == 1
    assert not (folder / "none").exists()


@contextmanager
def _supervising(
    folder: Path,
    programs: dict[str, list[str]],
    ranks: dict[str, int] | None = None,
    stop_seconds: float = 12.0,
) -> Iterator[Stand]:
    children = [
        {
            "name": name,
            "command": [
                sys.executable,
                "-c",
                "; ".join(["import os, sys, time", *parts]),
                str(folder / name),
            ],
            "stop_rank": (ranks or {}).get(name, 0),
            "stop_seconds": stop_seconds,
        }
        for name, parts in programs.items()
    ]
    with started("tests.infrastructure.run_supervisor", json.dumps(children)) as supervisor:
        yield Stand(folder, supervisor)
        # Asked, it takes the deaf grandchildren with it; killed, it could not.
        supervisor.terminate()
        supervisor.wait(20)


@contextmanager
def _listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_only_the_api_gets_the_signing_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMASTER_SECRET_KEY", "k" * 40)
    settings = Settings(secret_key="k" * 40, previous_secret_key="p" * 40)
    given = {child.name: child_environ(settings, secrets=child.may_sign) for child in everything(settings)}
    holders = {name for name, environ in given.items() if "k" * 40 in environ.values() or "p" * 40 in environ.values()}
    assert holders == {"api"}
    assert given.keys() == {"api", "relay", "workers"}
