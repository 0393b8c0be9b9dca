"""The processes TaskMaster consists of, and the two ways to run them: with embedded servers or without."""

import errno
import http.client
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import msgspec
from rich.console import Console

from infrastructure.embedded.services import LocalServices
from infrastructure.limits.budgets import budgets_of
from infrastructure.limits.client_address import trusted_networks
from infrastructure.log.bringing_up import bring_up
from infrastructure.processes.supervisor import Child, Supervisor
from infrastructure.servers.connection_check import RedisAway, check_postgres, check_redis, check_servers
from infrastructure.servers.migrate import migrate
from infrastructure.settings import ConfigurationError, Settings, child_environ, with_kept_secret

logger = logging.getLogger(__name__)

FIRST_PORT = 8000
LAST_PORT = 8999
GRACE_SECONDS = 10
LINE_AT_THE_DOOR = 4096
FILES_BESIDE_CONNECTIONS = 256
_PROBE_SECONDS = 0.3
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names, nothing is bound here

Children = Callable[[Settings], Sequence[Child]]


def api(settings: Settings) -> list[Child]:
    """The ASGI server with its worker processes."""
    # A read that waits for its position is work in flight as well.
    grace = GRACE_SECONDS + ceil(settings.wait_seconds)
    command = [
        sys.executable, "-m", "infrastructure.processes.granian_server", "--interface", "asgi", "--factory", "--loop", "uvloop",
        # The server's word for open connections is backpressure. With HTTP/1 alone it also ends those that never ask.
        "--http", "1", "--backpressure", str(_connections(settings)), "--backlog", str(LINE_AT_THE_DOOR),
        "--host", settings.host, "--port", str(settings.port), "--workers", str(settings.api_processes),
        "--respawn-failed-workers", "--workers-kill-timeout", str(grace),
        "--no-access-log", "--log-level", "warning", "api.app:create_app",
    ]  # fmt: skip
    return [Child(name="api", command=tuple(command), stop_rank=0, stop_seconds=GRACE_SECONDS + 2, may_sign=True)]


def background(settings: Settings) -> list[Child]:
    """The relay and the Dramatiq workers."""
    workers = [
        sys.executable, "-m", "dramatiq", "workers.main",
        "--processes", str(settings.worker_processes), "--threads", str(settings.worker_threads),
        "--worker-shutdown-timeout", str(GRACE_SECONDS * 1000),
    ]  # fmt: skip
    return [
        Child(name="relay", command=(sys.executable, "-m", "workers.relay"), stop_rank=1),
        Child(name="workers", command=tuple(workers), stop_rank=1, stop_seconds=GRACE_SECONDS + 2),
    ]


def _connections(settings: Settings) -> int:
    """How many connections an API process may hold: as many as are set, or as the open files allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + FILES_BESIDE_CONNECTIONS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.max_connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    # Children inherit it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logger.warning("the system allows %s open files (ulimit -n): fewer connections than TASKMASTER_MAX_CONNECTIONS", hard)
    return max(1, allowed - FILES_BESIDE_CONNECTIONS)


def everything(settings: Settings) -> list[Child]:
    """All of it in one terminal."""
    return [*background(settings), *api(settings)]


def run_dev(settings: Settings, children: Children = everything) -> None:
    """Start the embedded servers where no URL is set, migrate, run `children` and stop it all after a signal.

    Raises ConfigurationError or LocalServiceError when it cannot start.
    """
    begun = time.monotonic()
    _check_what_children_read(settings)
    with _interruptible() as check:
        check_servers(settings)
        settings = with_port(with_kept_secret(settings))
        services = LocalServices(settings)
        try:
            with _progress("starting PostgreSQL and Valkey"):
                services.start()
            check()
            settings = msgspec.structs.replace(settings, database_url=services.database_url, redis_url=services.redis_url)
            with _progress("migrating"):
                migrate(settings.database_url, [settings.log_name])
                bring_up(settings.database_url, settings.log_name)
            check()
            _supervise(settings, children, services.revive, begun)
        finally:
            services.stop()


def run_with_servers(settings: Settings, children: Children, *, has_url: bool) -> None:
    """Run `children` against the configured servers until a signal; `has_url` when an API is among them."""
    for name, url in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        if not url:
            raise ConfigurationError(f"{name} is required; 'taskmaster dev' starts servers of its own")
    begun = time.monotonic()
    _check_what_children_read(settings)
    with _interruptible() as check:
        check_postgres(settings.database_url, settings.log_name)
        bring_up(settings.database_url, settings.log_name)
        try:
            check_redis(settings.redis_url)
        except RedisAway as away:
            # Whatever needs it waits for it, and reads come from Postgres. Said, because the address may be wrong.
            logger.warning("%s; starting without it", away)
        check()
        if not has_url:
            _supervise(settings, children, list, None)
            return
        with TemporaryDirectory(prefix="taskmaster-serve-") as private:
            drained = msgspec.structs.replace(with_port(settings), drain_file=str(Path(private) / "draining"))
            _supervise(drained, children, list, begun)


def _check_what_children_read(settings: Settings) -> None:
    """Raise ConfigurationError here, once: a child that found it out would end, and be started again and again."""
    trusted_networks(settings)
    budgets_of(settings)


def with_port(settings: Settings) -> Settings:
    """The settings with a port that is free now: the configured one, or the first from 8000."""
    if settings.port:
        if not _is_free(settings.host, settings.port):
            raise ConfigurationError(f"TASKMASTER_PORT: {settings.port} on {settings.host} is in use")
        return settings
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if _is_free(settings.host, port):
            return msgspec.structs.replace(settings, port=port)
    raise ConfigurationError(f"TASKMASTER_PORT: no port from {FIRST_PORT} to {LAST_PORT} is free")


def _supervise(settings: Settings, children: Children, revive: Callable[[], list[str]], announce_since: float | None) -> None:
    announced = announce_since is None

    def tick() -> None:
        nonlocal announced
        for name in revive():
            logger.warning("%s had ended and was started again", name)
        if not announced and announce_since is not None and _answers(settings):
            announced = True
            seconds = time.monotonic() - announce_since
            Console().print(f"TaskMaster is ready on {_url(settings)} after {seconds:.1f} s", highlight=False)

    def drain() -> float:
        if not settings.drain_file:
            return 0.0
        Path(settings.drain_file).touch()
        return settings.drain_seconds

    Supervisor(children(settings), lambda child: child_environ(settings, secrets=child.may_sign), tick, drain).run()


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself does: connections that are closing do not occupy the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise ConfigurationError(f"TASKMASTER_HOST: cannot listen on {host}:{port}: {error.strerror}") from None
    return True


def _url(settings: Settings) -> str:
    host = _ANYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _answers(settings: Settings) -> bool:
    host = _ANYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Make SIGTERM during start or stop undo what was started, as Ctrl-C does, and neither an error.

    Python drops an exception that a signal's handler raises while an object is being finalised or a process is forked; what
    is given here raises it again if that happened.
    """
    asked = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    def report(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)

    reported, sys.unraisablehook = sys.unraisablehook, report
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield check
    except KeyboardInterrupt:
        logger.info("stopped while starting")
    finally:
        sys.unraisablehook = reported
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(doing: str) -> Iterator[None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(f"{doing} …"):
        yield
