"""One served application for each module, with a database of its own."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg import sql

from infrastructure.embedded.services import LocalServices
from infrastructure.settings import Settings, load_settings
from tests.api_world import OPERATOR, SECRET, Api, World, serving


@pytest.fixture(scope="module")
def api_settings(services: LocalServices, template_database: str) -> Iterator[Settings]:
    """Settings for a migrated database and an empty Redis."""
    name = f"test_api_{uuid4().hex}"
    template, database = sql.Identifier(template_database), sql.Identifier(name)
    _administer(services, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(database, template))
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushall()
    environ = {
        "DATABASE_URL": services.database_url.replace("/taskmaster?", f"/{name}?", 1),
        "REDIS_URL": services.redis_url,
        "TASKMASTER_SECRET_KEY": SECRET,
        "TASKMASTER_OPERATOR_TOKEN": OPERATOR,
        "TASKMASTER_WAIT_SECONDS": "2",
        "TASKMASTER_LIMITS": "off",
    }
    yield load_settings(environ)
    _administer(services, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


def _administer(services: LocalServices, statement: sql.Composed) -> None:
    # A connection for each statement: a test may have stopped the server in between.
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="module")
def api(api_settings: Settings) -> Iterator[Api]:
    """The application, served."""
    with serving(api_settings) as served:
        yield served
        breaches = sorted(set(served.contract.breaches))
        assert not breaches, "\n".join(breaches)


@pytest.fixture(scope="module")
def world(api: Api) -> World:
    """Two users who share nothing. Tests make tasks of their own."""
    return World(api)
