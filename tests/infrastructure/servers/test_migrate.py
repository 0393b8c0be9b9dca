"""Migrations: order, safety against each other, and refusal of what was changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.services import LocalServices
from infrastructure.servers.migrate import check_server, migrate
from infrastructure.settings import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("control", "log"):
        (tmp_path / name).mkdir()
    (tmp_path / "control" / "0001_users.sql").write_text("CREATE TABLE users (id int);")
    (tmp_path / "log" / "0002_more.sql").write_text("ALTER TABLE events ADD COLUMN kind text;")
    (tmp_path / "log" / "0001_events.sql").write_text(
        "CREATE TABLE events (position int);\n"
        "CREATE FUNCTION head() RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT\n"
        "AS $$ SELECT count(*) FROM events WHERE 1 % 2 = 1 $$;"
    )
    return tmp_path


def test_files_are_applied_in_order_control_first_then_each_log(empty_database_url: str, folder: Path) -> None:
    assert migrate(empty_database_url, ["main", "east"], folder=folder) == [
        "taskmaster/0001_users.sql",
        "log_main/0001_events.sql",
        "log_main/0002_more.sql",
        "log_east/0001_events.sql",
        "log_east/0002_more.sql",
    ]


def test_a_second_run_applies_nothing(empty_database_url: str, folder: Path) -> None:
    migrate(empty_database_url, ["main"], folder=folder)
    assert migrate(empty_database_url, ["main"], folder=folder) == []


def test_only_what_is_new_is_applied(empty_database_url: str, folder: Path) -> None:
    migrate(empty_database_url, ["main"], folder=folder)
    (folder / "log" / "0003_index.sql").write_text("CREATE INDEX ON events (kind);")
    assert migrate(empty_database_url, ["main"], folder=folder) == ["log_main/0003_index.sql"]


def test_each_log_has_tables_and_functions_of_its_own(empty_database_url: str, folder: Path) -> None:
    migrate(empty_database_url, ["main", "east"], folder=folder)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO log_main.events VALUES (1)")
        heads = connection.execute("SELECT log_main.head(), log_east.head()").fetchone()
    assert heads == (1, 0)


def test_a_changed_file_is_refused_and_named(empty_database_url: str, folder: Path) -> None:
    migrate(empty_database_url, ["main"], folder=folder)
    (folder / "log" / "0001_events.sql").write_text("CREATE TABLE events (position bigint);")
    with pytest.raises(ConfigurationError, match=r"log/0001_events\.sql was changed .* log_main"):
        migrate(empty_database_url, ["main"], folder=folder)


def test_other_line_ends_are_no_change(empty_database_url: str, folder: Path) -> None:
    migrate(empty_database_url, ["main"], folder=folder)
    file = folder / "log" / "0001_events.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate(empty_database_url, ["main"], folder=folder) == []


def test_a_file_that_fails_leaves_nothing_of_itself(empty_database_url: str, folder: Path) -> None:
    (folder / "log" / "0002_more.sql").write_text("CREATE TABLE half (id int); SELECT 1 / 0;")
    with pytest.raises(ConfigurationError, match=r"log_main/0002_more\.sql failed: division by zero"):
        migrate(empty_database_url, ["main"], folder=folder)
    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT to_regclass('log_main.events'), to_regclass('log_main.half')").fetchone()
        applied = connection.execute("SELECT name FROM log_main.schema_migrations").fetchall()
    assert tables == ("log_main.events", None)
    assert applied == [("0001_events.sql",)]


def test_a_file_may_leave_the_transaction(empty_database_url: str, folder: Path) -> None:
    (folder / "log" / "0003_index.sql").write_text(
        "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS events_kind ON events (kind);"
    )
    assert "log_main/0003_index.sql" in migrate(empty_database_url, ["main"], folder=folder)


def test_many_starts_at_once_apply_everything_exactly_once(empty_database_url: str, folder: Path) -> None:
    # An index built concurrently waits for every open snapshot: it must not wait for those who wait for their
    # turn.
    (folder / "log" / "0003_index.sql").write_text("-- no-transaction\nCREATE INDEX CONCURRENTLY events_kind ON events (kind);")
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(migrate, empty_database_url, ["main"], folder=folder) for _ in range(6)]
    applied = [run.result() for run in runs]
    assert sorted(map(len, applied)) == [0, 0, 0, 0, 0, 4]


@pytest.mark.parametrize("name", ["", "Main", "a-b", 'x"; DROP SCHEMA public; --', "a" * 32])
def test_a_name_that_is_no_log_name_is_refused_before_anything_happens(empty_database_url: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="TASKMASTER_LOG"):
        migrate(empty_database_url, [name])
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regnamespace('taskmaster')").fetchone() == (None,)


@pytest.mark.parametrize("parameter", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_confirmed_writes_is_refused(services: LocalServices, parameter: str) -> None:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        check_server(connection)
        connection.execute(f"ALTER SYSTEM SET {parameter} = off")
        try:
            _reload(connection, parameter, "off")
            with pytest.raises(ConfigurationError, match=f"{parameter}=off"):
                check_server(connection)
        finally:
            connection.execute(f"ALTER SYSTEM RESET {parameter}")
            _reload(connection, parameter, "on")


def test_a_database_in_another_encoding_is_refused(services: LocalServices) -> None:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE 'C'")
        try:
            with pytest.raises(ConfigurationError, match="server_encoding=LATIN1"):
                migrate(services.database_url.replace("/taskmaster?", "/latin?"), ["main"])
        finally:
            connection.execute("DROP DATABASE latin")


def _reload(connection: psycopg.Connection[tuple[object, ...]], parameter: str, expected: str) -> None:
    connection.execute("SELECT pg_reload_conf()")
    # A session learns of the change at its next statement after the signal; each turn is one.
    while connection.execute("SELECT current_setting(%s)", [parameter]).fetchone() != (expected,):
        pass
