"""What is measured: embedded servers, a database a stage, and our processes started with the commands that ship."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg
import redis
from psycopg import sql

from infrastructure.cli import starting
from infrastructure.embedded.services import LocalServices
from infrastructure.processes.child_process import start_process, stop_process
from infrastructure.read_models.hot_keys import generations_pattern
from infrastructure.servers.migrate import migrate
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from infrastructure.settings import Settings, child_environ
from tests.benchmarks.bare import PAGE_FILE
from tests.benchmarks.figures import NotMeasured
from tests.benchmarks.http_client import Connection, Request
from tests.wide_limits import WIDE

PROJECT = Path(__file__).parents[2]
HOST = "127.0.0.1"
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
_SECRET = "the key of a benchmark that lives for minutes"


class User(msgspec.Struct, frozen=True):
    """A registered user with what he needs to ask."""

    principal_id: UUID
    workspace_id: UUID
    headers: dict[str, str]


class Server(msgspec.Struct, frozen=True):
    """A running process of ours; `port` is 0 where it does not listen."""

    process: subprocess.Popen[bytes]
    port: int = 0

    @property
    def working_pid(self) -> int:
        """The process that does the work: of those that this one started, the one with the most memory."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        if not children:
            raise NotMeasured(f"process {self.process.pid} has no worker process")
        return int(max(children, key=lambda child: int(child.memory_info().rss)).pid)

    def connect(self) -> Connection:
        """A keep-alive connection to it."""
        return Connection(HOST, self.port)


class Bench:
    """The machine's embedded servers, and a folder for everything else. Starts processes and stops what it started."""

    def __init__(self, services: LocalServices, folder: Path) -> None:
        self.folder = folder
        self._services = services

    @contextmanager
    def stage(self, log_names: Sequence[str] = ("main",)) -> Iterator[Settings]:
        """Settings of a migrated database and an empty Redis of the stage's own; dropped afterwards."""
        name = f"bench_{uuid4().hex[:12]}"
        self._administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with redis.Redis.from_url(self._services.redis_url) as client:
            client.flushall()
        url = self._services.database_url.replace("/taskmaster?", f"/{name}?", 1)
        try:
            migrate(url, log_names)
            yield Settings(
                **WIDE,
                database_url=url,
                redis_url=self._services.redis_url,
                data_dir=str(self.folder),
                host=HOST,
                secret_key=_SECRET,
                log_name=log_names[0],
            )
        finally:
            self._administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._services.database_url, autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def api(self, settings: Settings) -> Iterator[Server]:
        """One API process as `taskmaster serve` starts it, answering."""
        chosen = msgspec.structs.replace(settings, port=free_port())
        with self._running(starting.api(chosen)[0].command, child_environ(chosen), "api") as process:
            wait_until_answered(process, chosen.port, "/healthz")
            yield Server(process, chosen.port)

    @contextmanager
    def bare(self, settings: Settings, page: bytes) -> Iterator[Server]:
        """The bare application under the same server with the same flags; lists answer `page`."""
        chosen = msgspec.structs.replace(settings, port=free_port())
        *command, application = starting.api(chosen)[0].command
        if application != "api.app:create_app":
            raise NotMeasured("the API's command does not end with its application any more")
        file = self.folder / f"page-{uuid4().hex}.json"
        file.write_bytes(page)
        environ = {**child_environ(chosen), PAGE_FILE: str(file)}
        with self._running([*command, "tests.benchmarks.bare:create_app"], environ, "bare") as process:
            wait_until_answered(process, chosen.port, "/api/v1/tasks")
            yield Server(process, chosen.port)

    @contextmanager
    def background(self, settings: Settings) -> Iterator[dict[str, Server]]:
        """Relay and workers as `taskmaster work` starts them, by name; the read model in Redis is there."""
        with ExitStack() as stack:
            children = starting.background(settings)
            running = {
                child.name: Server(stack.enter_context(self._running(child.command, child_environ(settings), child.name)))
                for child in children
            }
            wait_until_projecting(settings)
            yield running

    @contextmanager
    def program(self, module: str, *arguments: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m module …` with the project's folder in its path."""
        with self._running([sys.executable, "-m", module, *arguments], environ, module) as process:
            yield process

    @contextmanager
    def _running(self, command: Sequence[str], environ: Mapping[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
        log = self.folder / f"{name}-{uuid4().hex[:8]}.log"
        with log.open("wb") as output:
            process = start_process(
                command,
                environ={**environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{environ.get('PYTHONPATH', '')}"},
                death_signal=signal.SIGTERM,
                working_dir=str(PROJECT),
                output=output,
            )
        try:
            yield process
        except BaseException as error:
            error.add_note(f"{name} had said: {log.read_text(errors='replace')[-1500:].strip() or 'nothing'}")
            raise
        finally:
            stop_process(process, signal.SIGTERM, STOP_SECONDS)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_answered(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    """Until the server answers 200. Raises NotMeasured when its process ends or 30 s have passed."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(HOST, port, timeout=2)
            try:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            finally:
                connection.close()
        time.sleep(0.02)
    raise NotMeasured(f"nothing answers on {path}")


def wait_until_projecting(settings: Settings) -> None:
    """Until the workers serve: Redis holds the read model's checkpoint. Raises NotMeasured after 30 s."""
    deadline = time.monotonic() + READY_SECONDS
    pattern = f"{generations_pattern(settings.log_name)}:checkpoint"
    with sync_client(settings.redis_url, READ_MODELS) as client:
        while time.monotonic() < deadline:
            if any(True for _ in client.scan_iter(match=pattern, count=1000)):
                return
            time.sleep(0.02)
    raise NotMeasured("the workers never laid down a checkpoint in Redis")


def register(server: Server, name: str = "") -> User:
    """Register a user through the API."""
    body = {"email": f"{name or uuid4().hex}@example.org", "password": "correct horse battery", "display_name": "Ada"}
    request = Request("POST", "/api/v1/auth/register", {"Content-Type": "application/json"}, msgspec.json.encode(body))
    with server.connect() as connection:
        answer = connection.send(request)
    if answer.status != 201:
        raise NotMeasured(f"registering was answered {answer.status}: {answer.body[:200]!r}")
    tokens = msgspec.json.decode(answer.body)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return User(UUID(tokens["principal_id"]), UUID(tokens["workspace_id"]), headers)


def creation(user: User) -> Request:
    """POST /api/v1/tasks with another idempotency key each time."""
    body = b'{"title":"Write the quarterly report","priority":"high","labels":["finance"]}'
    return Request("POST", "/api/v1/tasks", {**user.headers, "Content-Type": "application/json"}, body, keyed=True)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (10**6 bytes)."""
    return int(psutil.Process(pid).memory_info().rss) / 1e6
