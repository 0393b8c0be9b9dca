"""The embedded servers: who they run as, what they keep, and what they survive."""

import os
import pwd
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis

from infrastructure.embedded.home import LocalServiceError
from infrastructure.embedded.services import LocalServices, reachable_services
from infrastructure.settings import Settings, with_kept_secret
from tests.infrastructure.processes_under_test import holding_services, is_alive, kill, wait_until

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def data_dir(open_folder: Path) -> Path:
    return open_folder / uuid4().hex[:8]


@pytest.fixture
def own_services(data_dir: Path) -> Iterator[LocalServices]:
    """Servers of the test's own, for tests that stop them or look into their folders."""
    with LocalServices(Settings(data_dir=str(data_dir))) as running:
        yield running


def _server_uid(services: LocalServices) -> int:
    (owner,) = {Path(f"/proc/{pid}").stat().st_uid for pid in (services.postgres_pid, services.redis_pid)}
    return owner


def test_the_servers_run_as_ourselves_or_as_somebody_whom_no_other_program_runs_as(services: LocalServices) -> None:
    owner = _server_uid(services)
    if not AS_ROOT:
        assert owner == os.geteuid()
        return
    assert owner != 0
    with pytest.raises(KeyError):
        pwd.getpwuid(owner)


def test_only_the_servers_user_can_enter_the_socket_folder(data_dir: Path, own_services: LocalServices) -> None:
    sockets = (data_dir / "run").stat()
    assert (stat.S_IMODE(sockets.st_mode), sockets.st_uid) == (0o700, _server_uid(own_services))


def test_nobody_else_reads_what_lies_in_the_data_folder(data_dir: Path) -> None:
    settings = with_kept_secret(Settings(data_dir=str(data_dir)))
    with LocalServices(settings):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (data_dir, *data_dir.iterdir())}
    assert modes.pop(data_dir.name) == 0o711
    assert modes == {
        **dict.fromkeys(("postgres", "valkey", "run"), 0o700),
        **dict.fromkeys(("lock", "secret_key", "postgres.log", "valkey.log", "initdb.log"), 0o600),
    }


def test_a_log_that_others_could_read_is_closed_to_them(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))):
        pass
    (data_dir / "postgres.log").chmod(0o644)
    with LocalServices(Settings(data_dir=str(data_dir))):
        assert stat.S_IMODE((data_dir / "postgres.log").stat().st_mode) == 0o600


def test_the_servers_listen_on_no_port(services: LocalServices) -> None:
    with psycopg.connect(services.database_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    with redis.Redis.from_url(services.redis_url) as client:
        assert client.config_get("port") == {"port": "0"}


def test_nothing_confirmed_is_lost_by_configuration(services: LocalServices) -> None:
    wanted = {"fsync": "on", "full_page_writes": "on", "data_checksums": "on", "server_encoding": "UTF8"}
    with psycopg.connect(services.database_url) as connection:
        for name, value in wanted.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        locale = connection.execute("SELECT datlocale FROM pg_database WHERE datname = 'taskmaster'").fetchone()
        assert locale == ("C.UTF-8",)
    with redis.Redis.from_url(services.redis_url) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_both_keep_their_data_from_one_run_to_the_next(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))) as first:
        _write(first)
        pids = [first.postgres_pid, first.redis_pid]
    assert not any(is_alive(pid) for pid in pids)
    with LocalServices(Settings(data_dir=str(data_dir))) as second:
        assert _read(second) == (1, b"1")


def test_two_copies_run_beside_each_other(services: LocalServices, own_services: LocalServices) -> None:
    _write(own_services)
    with psycopg.connect(services.database_url) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)


def test_a_second_start_on_the_same_folder_is_refused_in_one_line(data_dir: Path, own_services: LocalServices) -> None:
    with pytest.raises(LocalServiceError) as refused:
        LocalServices(Settings(data_dir=str(data_dir))).start()
    assert f"process {os.getpid()}" in str(refused.value)
    assert "\n" not in str(refused.value)
    _write(own_services)


def test_a_short_command_uses_the_servers_that_run_already(data_dir: Path, own_services: LocalServices) -> None:
    with reachable_services(Settings(data_dir=str(data_dir))) as settings:
        assert (settings.database_url, settings.redis_url) == (
            own_services.database_url,
            own_services.redis_url,
        )
    _write(own_services)


def test_a_short_command_starts_servers_for_as_long_as_it_needs_them(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))):
        pass
    with reachable_services(Settings(data_dir=str(data_dir)), redis=False) as settings:
        psycopg.connect(settings.database_url).close()
        assert settings.redis_url == ""
    with reachable_services(Settings(data_dir=str(data_dir))) as settings:
        psycopg.connect(settings.database_url).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(settings.database_url)


def test_a_configured_server_is_not_started(services: LocalServices, data_dir: Path) -> None:
    configured = Settings(data_dir=str(data_dir), database_url=services.database_url)
    with LocalServices(configured) as mixed:
        assert mixed.database_url == services.database_url
        assert redis.Redis.from_url(mixed.redis_url).ping()
        with pytest.raises(LocalServiceError):
            _ = mixed.postgres_pid


def test_the_servers_stop_when_the_program_that_started_them_is_killed(data_dir: Path) -> None:
    with holding_services(data_dir) as (holder, servers):
        kill(holder.pid)
        wait_until(lambda: not any(is_alive(pid) for pid in servers.values()))
    assert "database system is shut down" in (data_dir / "postgres.log").read_text()


def test_everything_comes_back_after_all_of_it_was_killed_at_once(data_dir: Path) -> None:
    with holding_services(data_dir) as (holder, servers):
        kill(holder.pid, *servers.values())
    with LocalServices(Settings(data_dir=str(data_dir))) as recovered:
        assert _read(recovered) == (1, b"1")


def test_servers_that_were_left_running_are_replaced(data_dir: Path) -> None:
    with holding_services(data_dir) as (holder, left):
        for pid in left.values():
            # Stopped, they outlive the program that started them: what it sends them stays unread.
            os.kill(pid, signal.SIGSTOP)
        kill(holder.pid)
        assert all(is_alive(pid) for pid in left.values())
    with LocalServices(Settings(data_dir=str(data_dir))) as adopted:
        assert not any(is_alive(pid) for pid in left.values())
        assert _read(adopted) == (1, b"1")


def test_a_session_that_outlived_its_server_does_not_prevent_the_next_start(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _write(services)
        with psycopg.connect(services.database_url) as connection:
            session = connection.info.backend_pid
            os.kill(session, signal.SIGSTOP)
            kill(services.postgres_pid)
            assert services.revive() == ["postgres"]
        assert not is_alive(session)
        assert _read(services) == (1, b"1")


def test_a_pid_file_with_another_programs_number_does_not_stop_the_start(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _write(services)
        services.kill_postgres()
        pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        with subprocess.Popen(["sleep", "60"], user=(data_dir / "postgres").stat().st_uid) as stranger:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
            try:
                services.start_postgres()
                assert stranger.poll() is None
            finally:
                stranger.kill()
        assert _read(services) == (1, b"1")


def test_a_cluster_whose_making_was_interrupted_is_made_anew(data_dir: Path) -> None:
    (data_dir / "postgres" / "draft").mkdir(parents=True)
    (data_dir / "postgres" / "draft" / "PG_VERSION").write_text("18\n")
    for folder in (data_dir, data_dir / "postgres"):
        folder.chmod(0o711)
    if AS_ROOT:
        os.chown(data_dir / "postgres", pwd.getpwnam("nobody").pw_uid, -1)
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _write(services)


def test_a_server_that_cannot_start_says_why_at_once(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))):
        pass
    with (data_dir / "postgres" / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'nonsense'\n")
    begun = time.monotonic()
    with pytest.raises(LocalServiceError, match="nonsense"):
        LocalServices(Settings(data_dir=str(data_dir))).start()
    assert time.monotonic() - begun < 10


def test_a_failed_start_leaves_the_folder_free_and_no_process(data_dir: Path) -> None:
    with LocalServices(Settings(data_dir=str(data_dir))):
        pass
    configuration = data_dir / "postgres" / "data" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("nonsense\n")
    failed = LocalServices(Settings(data_dir=str(data_dir)))
    with pytest.raises(LocalServiceError):
        failed.start()
    configuration.write_text(good)
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _write(services)


def test_a_data_folder_with_a_long_or_odd_name_gets_its_sockets_elsewhere(open_folder: Path) -> None:
    data_dir = open_folder / f"odd, name {'x' * 100}"
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _write(services)
        assert _read(services) == (1, b"1")
        socket = Path(unquote(urlsplit(services.redis_url).path))
        assert socket.exists()
    assert not socket.parent.exists()


def test_an_aborted_postgres_recovers_what_was_committed(own_services: LocalServices) -> None:
    _write(own_services)
    before = own_services.postgres_pid
    own_services.restart_postgres(immediate=True)
    assert own_services.postgres_pid != before
    assert _read(own_services) == (1, b"1")


def test_a_killed_valkey_comes_back_with_its_data_or_on_request_without(own_services: LocalServices) -> None:
    _write(own_services)
    own_services.kill_redis()
    own_services.start_redis()
    assert _read(own_services) == (1, b"1")
    own_services.kill_redis()
    own_services.start_redis(empty=True)
    assert _read(own_services) == (1, None)


def test_a_paused_valkey_answers_nothing_until_it_is_resumed(own_services: LocalServices) -> None:
    with redis.Redis.from_url(own_services.redis_url, socket_timeout=0.2, retry=None) as client:
        assert client.ping()
        own_services.pause_redis()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_services.resume_redis()
    with redis.Redis.from_url(own_services.redis_url) as client:
        assert client.ping()


def test_servers_that_ended_by_themselves_are_started_again(own_services: LocalServices) -> None:
    _write(own_services)
    assert own_services.revive() == []
    kill(own_services.postgres_pid, own_services.redis_pid)
    # A program's other threads may end a moment later than it does; only then has it ended.
    revived: list[str] = []
    wait_until(lambda: len(revived.extend(own_services.revive()) or revived) == 2)
    assert sorted(revived) == ["postgres", "valkey-server"]
    assert _read(own_services) == (1, b"1")


def _write(services: LocalServices) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
    with redis.Redis.from_url(services.redis_url) as client:
        client.set("kept", "1")


def _read(services: LocalServices) -> tuple[int, bytes | None]:
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute("SELECT id FROM kept").fetchone()
    assert row is not None
    with redis.Redis.from_url(services.redis_url) as client:
        kept = client.get("kept")
    assert kept is None or isinstance(kept, bytes)
    return row[0], kept
