"""Real servers for every test: one PostgreSQL and one Valkey for the run, a database of its own for each
test.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg import sql

from infrastructure.embedded.services import LocalServices
from infrastructure.servers.migrate import migrate
from infrastructure.settings import load_settings
from tests.log_world import World, open_world

TEMPLATE = "template_migrated"
LOG_NAMES = ("main",)
collect_ignore = [] if os.geteuid() == 0 else ["infrastructure/test_local_services_as_root.py"]


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that the servers' user can reach, which pytest's own temporary folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def services(open_folder: Path) -> Iterator[LocalServices]:
    """Both servers, started once. A test that stops one of them starts it again."""
    with LocalServices(load_settings({"TASKMASTER_DATA_DIR": str(open_folder / "session")})) as running:
        yield running


@pytest.fixture(scope="session")
def template_database(services: LocalServices) -> str:
    """The name of a database that is migrated and that nobody is connected to."""
    _administer(services, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(_with_database(services.database_url, TEMPLATE), LOG_NAMES)
    return TEMPLATE


@pytest.fixture
def database_url(services: LocalServices, template_database: str) -> Iterator[str]:
    """A migrated database of the test's own, dropped afterwards with whatever is still connected to it."""
    name = f"test_{uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _administer(services, statement.format(sql.Identifier(name), sql.Identifier(template_database)))
    yield _with_database(services.database_url, name)
    _administer(services, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty_database_url(services: LocalServices) -> Iterator[str]:
    """A database of the test's own without any schema of ours."""
    name = f"test_{uuid4().hex}"
    _administer(services, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield _with_database(services.database_url, name)
    _administer(services, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def redis_url(services: LocalServices) -> str:
    """Logical database 0 of a server whose databases 0 (read models), 1 (broker) and 2 (limits) are empty."""
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushall()
    return services.redis_url


@pytest.fixture
def world(database_url: str, redis_url: str) -> Iterator[World]:
    """A log of the test's own with its read models, empty."""
    with open_world(database_url, redis_url) as opened:
        yield opened


def _administer(services: LocalServices, statement: sql.Composed) -> None:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(statement)


def _with_database(url: str, name: str) -> str:
    return url.replace("/taskmaster?", f"/{name}?", 1)
