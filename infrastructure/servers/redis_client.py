"""Redis clients, one way a role: each role has its own logical database, deadlines and patience."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from projections import layouts_id

READ_MODELS: Final = 0
BROKER: Final = 1
LIMITS: Final = 2


def head_channel(log_name: str) -> str:
    """Where appenders announce the newest position of a log."""
    return f"tm:{{{log_name}}}:head"


def applied_channel(log_name: str) -> str:
    """Where projectors announce how far the read models of this release's layouts have come: "<projection>,… <position>"."""
    return f"tm:{{{log_name}}}:applied-{layouts_id()}"


def with_database(url: str, database: int) -> str:
    """The URL of another logical database on the same server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        # urlunsplit would leave out the "//" that redis-py asks for.
        return f"unix://{parts.netloc}{parts.path}?db={database}"
    return urlunsplit(parts._replace(path=f"/{database}"))


def sync_client(url: str, database: int, timeout: float = 5.0) -> redis.Redis:
    """A blocking client without hidden repetitions: a call either ran, or its outcome is unknown after `timeout` seconds."""
    return redis.Redis.from_url(
        with_database(url, database),
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 2.0),
        retry=Retry(NoBackoff(), 0),
        max_connections=32,
    )


def async_client(url: str, database: int, timeout: float | None = 1.0) -> redis.asyncio.Redis:
    """The same for the event loop. Without a time-out the caller sets the limits of its calls."""
    return redis.asyncio.Redis.from_url(
        with_database(url, database),
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout or 1.0, 1.0),
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        max_connections=32,
    )
