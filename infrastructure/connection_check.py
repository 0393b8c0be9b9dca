"""Asks both servers for an answer before anything is started that would need them."""

import psycopg
import redis

from infrastructure.migrate import check_server
from infrastructure.settings import ConfigurationError, Settings

# Also the bound of a whole attempt as far as one address goes: a wrong URL is told within five seconds.
CONNECT_SECONDS = 4
OLDEST_REDIS = (6, 2)


def check_servers(settings: Settings) -> None:
    """Raise ConfigurationError, naming the variable, when a configured server cannot be used.

    Servers without a URL are not looked at. No message repeats a URL, because it may hold a password.
    """
    if settings.database_url:
        _check_postgres(settings.database_url)
    if settings.redis_url:
        _check_redis(settings.redis_url)


def _check_postgres(url: str) -> None:
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            check_server(connection)
    except psycopg.OperationalError as error:
        raise ConfigurationError(f"DATABASE_URL: {_one_line(error)}") from None
    except psycopg.Error:
        raise ConfigurationError("DATABASE_URL: not a PostgreSQL connection string") from None


def _check_redis(url: str) -> None:
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS, retry=None)
    except ValueError:
        raise ConfigurationError("REDIS_URL: not a redis://, rediss:// or unix:// URL") from None
    try:
        with client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        raise ConfigurationError(f"REDIS_URL: {_one_line(error)}") from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise ConfigurationError(f"REDIS_URL: Redis 6.2 or newer is needed, the server is {version}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
