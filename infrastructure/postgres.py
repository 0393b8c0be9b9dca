"""Connections to PostgreSQL: one schema for accounts, one schema a log."""

from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

CONTROL_SCHEMA = "taskmaster"

AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


def log_schema(log_name: str) -> str:
    """The schema that holds the log `log_name` and its read models."""
    return f"log_{log_name}"


def conninfo(database_url: str, schema: str, application: str = "taskmaster") -> str:
    """A connection string whose sessions resolve names in `schema` first, then in the control schema."""
    given = conninfo_to_dict(database_url)
    options = f"{given.get('options') or ''} -c search_path={schema},{CONTROL_SCHEMA} -c timezone=UTC".strip()
    return make_conninfo(
        database_url,
        options=options,
        application_name=application,
        connect_timeout=cast(int, given.get("connect_timeout") or 5),
    )


async def connect(database_url: str, schema: str, application: str = "taskmaster") -> psycopg.AsyncConnection[Any]:
    """One asynchronous connection in autocommit mode."""
    return await psycopg.AsyncConnection.connect(conninfo(database_url, schema, application), autocommit=True)


def connect_sync(database_url: str, schema: str, application: str = "taskmaster") -> psycopg.Connection[Any]:
    """One synchronous connection in autocommit mode."""
    return psycopg.connect(conninfo(database_url, schema, application), autocommit=True)


def pool(database_url: str, schema: str, size: int, application: str = "taskmaster") -> AsyncPool:
    """A closed pool of autocommit connections; `await pool.open()` opens it. Getting one waits at most two seconds."""
    return AsyncConnectionPool(
        conninfo(database_url, schema, application),
        min_size=min(2, size),
        max_size=size,
        timeout=2.0,
        kwargs={"autocommit": True},
        open=False,
        check=None,
        reconnect_timeout=3600.0,
    )
