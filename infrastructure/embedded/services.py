"""PostgreSQL and Valkey as child processes, from the binaries that are installed with the dependencies.

They listen on sockets in a folder only their user may enter and on no port, so any number of copies run
beside each other on one machine, each with its data folder. Data outlives the run; the processes do not
outlive this one.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from infrastructure.embedded.home import Home, LocalServiceError, find_binaries, find_home, has_installation, private
from infrastructure.embedded.postgres import create_cluster, create_database, database_url, postgres_server
from infrastructure.embedded.server import LocalServer
from infrastructure.embedded.valkey import redis_url, valkey_server
from infrastructure.settings import ConfigurationError, Settings


class LocalServices:
    """The embedded servers of one data folder, those of the two for which `settings` names no URL; Valkey only with `redis`.

    A context manager: both run and take connections inside the block. Start it from a thread that lives as
    long as the servers shall (the main thread): they are told to stop when that thread ends. Raises
    LocalServiceError when another process uses the data folder or a server does not start.
    """

    def __init__(self, settings: Settings, *, redis: bool = True) -> None:
        self.settings = settings
        self._wants_redis = redis and not settings.redis_url
        self._home: Home | None = None
        self._lock: IO[str] | None = None
        self._postgres: LocalServer | None = None
        self._redis: LocalServer | None = None

    @property
    def database_url(self) -> str:
        """A libpq connection string: the configured one, or that of the embedded server."""
        return self.settings.database_url or database_url(self._opened_home())

    @property
    def redis_url(self) -> str:
        """A redis-py URL of logical database 0: the configured one, or that of the embedded server."""
        return self.settings.redis_url or redis_url(self._opened_home())

    @property
    def postgres_pid(self) -> int:
        return self._postgres_server().pid

    @property
    def redis_pid(self) -> int:
        return self._redis_server().pid

    def __enter__(self) -> "LocalServices":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start what is needed, side by side, and return when both take connections."""
        if self.settings.database_url and not self._wants_redis:
            return
        self._home = home = find_home(self.settings.data_dir)
        self._lock = _locked(home)
        try:
            binaries = find_binaries(home.user)
            if self._wants_redis:
                self._redis = valkey_server(home, binaries)
                self._redis.begin()
            if not self.settings.database_url:
                self._postgres = postgres_server(home, binaries)
                create_cluster(home, binaries)
                self._postgres.begin()
                self._postgres.wait_ready()
                create_database(home)
            if self._redis:
                self._redis.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both cleanly and wait for them; harmless when nothing runs."""
        try:
            for server in (self._postgres, self._redis):
                if server:
                    server.stop()
        finally:
            if self._lock:
                if self._home and self._home.sockets.parent != self._home.folder:
                    shutil.rmtree(self._home.sockets, ignore_errors=True)
                # Explicitly, because a forked child of ours would keep the lock alive through its copy.
                fcntl.flock(self._lock, fcntl.LOCK_UN)
                self._lock.close()
                self._lock = None

    def revive(self) -> list[str]:
        """Start each server again that has ended by itself; their names. Call it from the thread that started
        them.
        """
        dead = [server for server in (self._postgres, self._redis) if server and not server.is_running()]
        for server in dead:
            server.kill()
            server.begin()
            server.wait_ready()
        return [server.name for server in dead]

    def restart_postgres(self, *, immediate: bool = False) -> None:
        """Stop PostgreSQL and start it again; `immediate` aborts it, so that it recovers from its log as
        after a crash.
        """
        server = self._postgres_server()
        server.stop(signal.SIGQUIT if immediate else None)
        self.start_postgres()

    def kill_postgres(self) -> None:
        """End PostgreSQL with all its sessions as a loss of power would."""
        self._postgres_server().kill()

    def start_postgres(self) -> None:
        self._postgres_server().begin()
        self._postgres_server().wait_ready()

    def kill_redis(self) -> None:
        """End Valkey as a crash would."""
        self._redis_server().kill()

    def start_redis(self, *, empty: bool = False) -> None:
        """Start Valkey with what it had kept, or having lost everything."""
        server = self._redis_server()
        if empty:
            for kept in server.folder.iterdir():
                shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        server.begin()
        server.wait_ready()

    def pause_redis(self) -> None:
        """Let Valkey accept connections and answer nothing, as an overloaded or unreachable server does."""
        os.kill(self.redis_pid, signal.SIGSTOP)

    def resume_redis(self) -> None:
        os.kill(self.redis_pid, signal.SIGCONT)

    def _opened_home(self) -> Home:
        if self._home is None:
            raise LocalServiceError("the embedded servers were not started")
        return self._home

    def _postgres_server(self) -> LocalServer:
        if self._postgres is None:
            raise LocalServiceError("no embedded PostgreSQL was started")
        return self._postgres

    def _redis_server(self) -> LocalServer:
        if self._redis is None:
            raise LocalServiceError("no embedded Valkey was started")
        return self._redis


@contextmanager
def reachable_services(settings: Settings, *, redis: bool = True, make: bool = False) -> Iterator[Settings]:
    """Settings with URLs for a short command: configured, or of the servers that run on the data folder already, or of ones
    started for as long as the block lasts. Without `redis` only PostgreSQL is; the URL of Redis may then be empty.

    Raises ConfigurationError where an embedded server would be needed and the data folder holds no installation, unless it is
    to `make` one: a short command in a wrong folder shall not.
    """
    if settings.database_url and (settings.redis_url or not redis):
        yield settings
        return
    if not make and not has_installation(settings.data_dir):
        if settings.database_url:
            raise ConfigurationError(f"REDIS_URL is not set, and {_no_installation(settings)}")
        raise ConfigurationError(f"{_no_installation(settings)}, or set DATABASE_URL")
    home = find_home(settings.data_dir)
    if _is_locked(home):
        yield msgspec.structs.replace(
            settings,
            database_url=settings.database_url or database_url(home),
            redis_url=settings.redis_url or redis_url(home),
        )
        return
    with LocalServices(settings, redis=redis) as services:
        found = services.redis_url if redis else settings.redis_url
        yield msgspec.structs.replace(settings, database_url=services.database_url, redis_url=found)


def _no_installation(settings: Settings) -> str:
    folder = Path(settings.data_dir).resolve()
    return f"there is no installation in {folder}: go to where 'taskmaster dev' was started, set TASKMASTER_DATA_DIR"


def _locked(home: Home) -> IO[str]:
    lock = open(home.folder / "lock", "a+", encoding="utf-8", opener=private)  # noqa: SIM115 - kept open as long as it is held
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise LocalServiceError(
            f"another TaskMaster (process {holder}) uses {home.folder}: stop it, or set TASKMASTER_DATA_DIR to another folder"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _is_locked(home: Home) -> bool:
    try:
        _locked(home).close()
    except LocalServiceError:
        return True
    return False
