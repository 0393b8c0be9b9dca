"""Asks the configured servers for an answer before anything is started that would need them."""

import psycopg
import redis

from infrastructure.servers.migrate import check_migrated, check_server
from infrastructure.servers.redis_client import READ_MODELS, with_database
from infrastructure.settings import ConfigurationError, Settings

# Also the bound of a whole attempt as far as one address goes: a wrong URL is told within five seconds.
CONNECT_SECONDS = 4
OLDEST_REDIS = (6, 2)


class RedisAway(ConfigurationError):
    """Redis gives no answer. Whoever can do without it for a while may go on."""


def check_servers(settings: Settings) -> None:
    """Raise ConfigurationError, naming the variable, when a configured server cannot be used.

    Servers without a URL are not looked at. No message repeats a URL, because it may hold a password.
    """
    if settings.database_url:
        check_postgres(settings.database_url)
    if settings.redis_url:
        check_redis(settings.redis_url)


def check_postgres(url: str, log_name: str | None = None) -> None:
    """Raise ConfigurationError for a server that does not answer or must not be used; with `log_name` also for a database whose
    schemas are not those of this release."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            check_server(connection)
            if log_name is not None:
                check_migrated(connection, log_name)
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise ConfigurationError(f"DATABASE_URL: {one_line(error)}") from None
    except psycopg.Error:
        raise ConfigurationError("DATABASE_URL: not a PostgreSQL connection string") from None


def check_redis(url: str) -> None:
    """Raise RedisAway for a server that does not answer, another ConfigurationError for one that must not be used."""
    check_redis_address(url)
    client = redis.Redis.from_url(
        with_database(url, READ_MODELS), socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS, retry=None
    )
    try:
        with client:
            _check_redis_server(client)
    except (redis.AuthenticationError, redis.ResponseError) as error:
        raise ConfigurationError(f"REDIS_URL: {one_line(error)}") from None
    except redis.RedisError as error:
        raise RedisAway(f"REDIS_URL: {one_line(error)}") from None


def check_redis_address(url: str) -> None:
    """Raise ConfigurationError for what is no address of a Redis, without asking anybody.

    Whoever can do without Redis cannot do with a wrong word in its place.
    """
    try:
        pool = redis.ConnectionPool.from_url(with_database(url, READ_MODELS))
        # Made and never opened: options in the URL are only looked at here.
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis.RedisError):
        raise ConfigurationError("REDIS_URL: not a redis://, rediss:// or unix:// URL, or one with unknown options") from None


def _check_redis_server(client: redis.Redis) -> None:
    """What of a server that answers makes it one that must not be used."""
    version = str(client.info("server")["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise ConfigurationError(f"REDIS_URL: Redis 6.2 or newer is needed, the server is {version}")
    policy = str(client.info("memory").get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise ConfigurationError(
            f"REDIS_URL: the server's maxmemory-policy is {policy}, so it may drop what is needed: set noeviction"
        )


def one_line(error: Exception) -> str:
    """What the error says, without its line ends."""
    return " ".join(str(error).split())
