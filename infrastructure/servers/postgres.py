"""Connections to PostgreSQL: one schema for accounts, one schema a log."""

import re
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from infrastructure.settings import LOG_NAME, ConfigurationError
from projections import layouts_id

CONTROL_SCHEMA = "taskmaster"

READ_SECONDS = 5
LOCK_SECONDS = 3
CONNECTION_SECONDS = 3.5
"""Both longer than a rebuild that was stopped inside its switch may stay silent before it loses its locks: who asks
meanwhile is answered late and not refused."""

AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


def log_schema(log_name: str) -> str:
    """The schema that holds the log `log_name`. Raises ConfigurationError for a name that is none."""
    if not re.match(LOG_NAME, log_name):
        raise ConfigurationError(f"TASKMASTER_LOG: {log_name!r} is no log name: a-z first, then up to 30 of a-z, 0-9, _")
    return f"log_{log_name}"


def models_schema(log_name: str) -> str:
    """The schema that holds the log's read models in the layouts of this release."""
    return f"{log_schema(log_name)}__{layouts_id()}"


_OF_READS = (
    # Plans made for any value flip to bad ones after five runs, parallel ones to full sorts; both are chosen by estimates.
    # A page that is not in sequence costs little more than one that is, in memory and on today's disks.
    "-c plan_cache_mode=force_custom_plan -c max_parallel_workers_per_gather=0 -c jit=off -c random_page_cost=1.1 "
    # Nobody waits for ever: neither for a lock that a suspended rebuild holds, nor for a query that was planned badly.
    f"-c statement_timeout={READ_SECONDS}s -c lock_timeout={LOCK_SECONDS}s "
    f"-c idle_in_transaction_session_timeout={READ_SECONDS}s"
)


def conninfo(database_url: str, schema: str, application: str = "taskmaster", more: str = "") -> str:
    """A connection string whose sessions resolve names in `schema` first; in a log's read models, if it is a log's; and in the
    control schema."""
    given = conninfo_to_dict(database_url)
    path = ",".join((schema, f"{schema}__{layouts_id()}", CONTROL_SCHEMA) if schema != CONTROL_SCHEMA else (schema,))
    options = f"{given.get('options') or ''} -c search_path={path} -c timezone=UTC {more}".strip()
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


def is_of_another_release(error: psycopg.Error) -> bool:
    """Whether the server refused a statement for what it is, not for its values: a table, column or function is missing or is
    another one, as it is while releases change (SQLSTATE classes 0A, 26, 3D, 3F and 42)."""
    return (error.sqlstate or "")[:2] in {"0A", "26", "3D", "3F", "42"}


def pool(database_url: str, schema: str, size: int, application: str = "taskmaster") -> AsyncPool:
    """A closed pool of autocommit connections for an API's reads; `await pool.open()` opens it.

    Getting one waits at most CONNECTION_SECONDS, a statement runs for at most READ_SECONDS and waits for a lock at most
    LOCK_SECONDS.
    """
    return AsyncConnectionPool(
        conninfo(database_url, schema, application, _OF_READS),
        min_size=min(2, size),
        max_size=size,
        timeout=CONNECTION_SECONDS,
        kwargs={"autocommit": True},
        open=False,
        check=None,
        reconnect_timeout=3600.0,
    )
