"""A wrong address is told before anything is started."""

import time

import pytest
import redis

from infrastructure.embedded.services import LocalServices
from infrastructure.servers.connection_check import check_servers
from infrastructure.settings import ConfigurationError, Settings

# An address that is reserved for documentation: nothing answers, not even a refusal.
SILENT = "192.0.2.1"


def test_servers_that_answer_are_accepted(services: LocalServices) -> None:
    check_servers(Settings(database_url=services.database_url, redis_url=services.redis_url))


def test_servers_without_an_address_are_not_looked_at() -> None:
    check_servers(Settings())


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (Settings(database_url="postgresql://u:hunter2@127.0.0.1:1/d"), "DATABASE_URL"),
        (Settings(database_url=f"postgresql://u:hunter2@{SILENT}/d"), "DATABASE_URL"),
        (Settings(database_url="postgresql://u:hunter2@nowhere.invalid/d"), "DATABASE_URL"),
        (Settings(database_url="postgres//u:hunter2@h/d"), "DATABASE_URL"),
        (Settings(redis_url="redis://:hunter2@127.0.0.1:1/0"), "REDIS_URL"),
        (Settings(redis_url=f"redis://:hunter2@{SILENT}/0"), "REDIS_URL"),
        (Settings(redis_url="unix:///nonexistent/redis.sock"), "REDIS_URL"),
        (Settings(redis_url="http://:hunter2@h"), "REDIS_URL"),
        (Settings(redis_url="redis://:hunter2@h:port/0"), "REDIS_URL"),
        (Settings(redis_url="redis://:hunter2@h:99999/0"), "REDIS_URL"),
        (Settings(redis_url="redis://:hunter2@[::1/0"), "REDIS_URL"),
        (Settings(redis_url="redis://:hunter2@h/0?colour=red"), "REDIS_URL"),
        (Settings(redis_url="redis://:hunter2@h/0?max_connections=-1"), "REDIS_URL"),
        (Settings(redis_url="redis://"), "REDIS_URL"),
    ],
)
def test_a_wrong_address_is_one_line_within_seconds_and_shows_no_password(settings: Settings, variable: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigurationError) as refused:
        check_servers(settings)
    assert time.monotonic() - begun < 6
    assert str(refused.value).startswith(f"{variable}: ")
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_database_that_does_not_exist_is_named(services: LocalServices) -> None:
    url = services.database_url.replace("/taskmaster?", "/missing?")
    with pytest.raises(ConfigurationError, match='database "missing" does not exist'):
        check_servers(Settings(database_url=url))


def test_a_redis_that_may_evict_is_refused_by_the_name_of_its_policy(services: LocalServices) -> None:
    with redis.Redis.from_url(services.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigurationError, match=r"allkeys-lru, .* set noeviction"):
                check_servers(Settings(redis_url=services.redis_url))
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_a_server_older_than_the_oldest_supported_is_refused(services: LocalServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.servers.migrate.OLDEST_SERVER", 999_999)
    with pytest.raises(ConfigurationError, match="PostgreSQL 15 or newer"):
        check_servers(Settings(database_url=services.database_url))
