"""Records of idempotency keys go once they have expired, a little at a time, whoever removes them."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from infrastructure.log import key_expiry
from infrastructure.log.key_expiry import KeyExpiry
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.settings import ConfigurationError, load_settings
from tests.infrastructure.log_under_test import an_append, append, appended, created, key, log_connection, streams
from tests.log_world import LOG, World

WEEK = 7 * 86_400


@pytest.fixture
def log(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with log_connection(database_url) as connection:
        yield connection


def keep(log: psycopg.Connection[Any], name: str, count: int, age: str) -> None:
    log.execute(
        "INSERT INTO idempotency SELECT gen_random_uuid(), gen_random_uuid(), %s || n, '', '{}', now() - %s::interval "
        "FROM generate_series(1, %s) n",
        (name, age, count),
    )


def kept(log: psycopg.Connection[Any]) -> int:
    row = log.execute("SELECT count(*) FROM idempotency").fetchone()
    assert row is not None
    return int(row[0])


def test_what_is_older_than_its_life_goes_and_nothing_else(log: psycopg.Connection[Any]) -> None:
    keep(log, "old", 7, "7 days 1 second")
    keep(log, "young", 5, "6 days 23 hours 59 minutes")
    assert KeyExpiry(WEEK).run(log) == 7
    names = {row[0][:5] for row in log.execute("SELECT key FROM idempotency")}
    assert (kept(log), names) == (5, {"young"})


def test_a_key_whose_record_went_is_a_new_key(log: psycopg.Connection[Any]) -> None:
    first, second = streams(2)
    appended(append(log, an_append(created(first), idempotency=key("k")))[0])
    log.execute("UPDATE idempotency SET recorded_at = now() - interval '8 days'")
    assert append(log, an_append(created(second), idempotency=key("k")))[0].replayed  # type: ignore[union-attr]  # a success
    KeyExpiry(WEEK).run(log)
    assert not appended(append(log, an_append(created(second), idempotency=key("k", "another request")))[0]).replayed


def test_it_goes_in_bounded_transactions(log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_expiry, "ROWS_A_STEP", 10)
    keep(log, "old", 35, "8 days")
    log.execute("CREATE TABLE removals (transaction xid8)")
    log.execute(
        "CREATE FUNCTION note_removal() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS "
        "'BEGIN INSERT INTO removals VALUES (pg_current_xact_id()); RETURN OLD; END'"
    )
    log.execute("CREATE TRIGGER noted BEFORE DELETE ON idempotency FOR EACH ROW EXECUTE FUNCTION note_removal()")
    assert KeyExpiry(WEEK).run(log) == 35
    steps = [row[0] for row in log.execute("SELECT count(*) FROM removals GROUP BY transaction ORDER BY 1")]
    assert steps == [5, 10, 10, 10]


def test_once_nothing_is_left_it_rests(log: psycopg.Connection[Any]) -> None:
    expiry = KeyExpiry(WEEK)
    assert expiry.run(log) == 0
    keep(log, "old", 3, "8 days")
    assert expiry.run(log) == 0
    assert KeyExpiry(WEEK).run(log) == 3


def test_several_workers_remove_each_record_once_and_wait_for_nobody(
    database_url: str, log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_expiry, "ROWS_A_STEP", 20)
    keep(log, "old", 900, "8 days")
    removed: list[int] = []

    def work() -> None:
        with log_connection(database_url) as connection:
            connection.execute("SET lock_timeout = '10s'")
            removed.append(KeyExpiry(WEEK).run(connection))

    with log_connection(database_url) as holder, holder.transaction():
        holder.execute("SELECT FROM idempotency ORDER BY recorded_at, key LIMIT 100 FOR UPDATE")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(removed) == 900 - kept(log)
    assert KeyExpiry(WEEK).run(log) == 900 - sum(removed)


def test_a_workers_sweep_removes_them(world: World) -> None:
    keep(world.connection, "old", 3, "2 days")
    worker = LogProjecting(world.database_url, world.redis_url, LOG, 86_400)
    worker.sweep()
    worker.close()
    assert kept(world.connection) == 0


def test_no_setting_makes_a_record_go_within_a_day() -> None:
    assert load_settings({}).idempotency_seconds == WEEK
    with pytest.raises(ConfigurationError, match="TASKMASTER_IDEMPOTENCY_SECONDS"):
        load_settings({"TASKMASTER_IDEMPOTENCY_SECONDS": "86399"})
