"""What each command needs before it begins: a database of this release, and Redis only where it is used."""

import http.client
import json
import os
from pathlib import Path

import psycopg
import pytest

from domain.tags import TAG_SCHEME
from domain.task.events import TaskCreated
from infrastructure.embedded.services import LocalServices
from tests.infrastructure.command_line import KEY, Run
from tests.infrastructure.processes_under_test import started
from tests.log_world import World, number

NOBODY_THERE = "redis://127.0.0.1:1/0"
ON_A_LOG = (
    "serve",
    "work",
    "status",
    "verify",
    "parked",
    "rebuild task_list",
    "import tickets {file} --mapping helpdesk --as a@b",
)


def _execute(database_url: str, *statements: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


NEWER = "INSERT INTO {}.schema_migrations (name, checksum) VALUES ('0999_later.sql', 'x')"
STATES = {
    "an older log": (["DELETE FROM log_main.schema_migrations WHERE name >= '0001'"], "run 'taskmaster migrate' first"),
    "older accounts": (["DELETE FROM taskmaster.schema_migrations"], "run 'taskmaster migrate' first"),
    "a newer log": ([NEWER.format("log_main")], "a newer release has migrated schema log_main"),
    "newer accounts": ([NEWER.format("taskmaster")], "a newer release has migrated schema taskmaster"),
    "tags of an older release": (["UPDATE log_main.log SET tag_scheme = 0"], "run 'taskmaster migrate' first"),
    "tags of a newer release": (["UPDATE log_main.log SET tag_scheme = 99"], "a newer release derives the tags of log 'main'"),
    "no log": (["DROP SCHEMA log_main CASCADE"], "there is no log 'main' in this database"),
    "no accounts": (["DROP SCHEMA taskmaster CASCADE"], "the database is empty"),
    "another migration": (["UPDATE log_main.schema_migrations SET checksum = 'x'"], "was changed after it was applied"),
}


@pytest.mark.parametrize("state", list(STATES))
def test_no_command_begins_on_a_database_that_is_not_of_this_release(
    run: Run, database_url: str, redis_url: str, state: str
) -> None:
    statements, told_of = STATES[state]
    _execute(database_url, *statements)
    for command in ON_A_LOG:
        code, output, errors = run(command, DATABASE_URL=database_url, REDIS_URL=redis_url)
        assert (command, code, output, errors.count("\n")) == (command, 2, "", 1)
        assert errors.startswith("error: ")
        assert told_of in errors


def test_no_command_begins_on_an_empty_or_missing_database(
    run: Run, services: LocalServices, empty_database_url: str, redis_url: str
) -> None:
    missing = services.database_url.replace("/taskmaster?", "/missing?")
    for command in ON_A_LOG:
        code, output, errors = run(command, DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
        assert (code, output, errors) == (
            2,
            "",
            "error: DATABASE_URL: the database is empty: run 'taskmaster migrate' first\n",
        )
    for command in (*ON_A_LOG, "migrate", "dev"):
        code, output, errors = run(command, DATABASE_URL=missing, REDIS_URL=redis_url)
        assert (command, code, output, errors.count("\n")) == (command, 2, "", 1)
        assert 'database "missing" does not exist' in errors


@pytest.mark.parametrize("schema", ["log_main", "taskmaster"])
def test_an_older_release_does_not_migrate_a_newer_database(run: Run, database_url: str, redis_url: str, schema: str) -> None:
    _execute(database_url, NEWER.format(schema))
    code, output, errors = run("migrate", DATABASE_URL=database_url)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "a newer release" in errors


def test_an_older_release_does_not_derive_the_tags_of_a_newer_one(run: Run, database_url: str, redis_url: str) -> None:
    _execute(database_url, "UPDATE log_main.log SET tag_scheme = 99")
    for command in ("migrate", "dev"):
        code, _, errors = run(command, DATABASE_URL=database_url, REDIS_URL=redis_url)
        assert (command, code, errors.count("\n")) == (command, 2, 1)
        assert "(by scheme 99, this one by scheme " in errors


def test_migrating_derives_the_tags_of_an_older_release_anew_and_says_so(run: Run, world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("UPDATE log SET tag_scheme = 0")
    code, output, _ = run("migrate", DATABASE_URL=world.database_url)
    assert (code, output) == (0, f"derived the tags of 1 events anew (scheme {TAG_SCHEME})\n")
    assert run("migrate", DATABASE_URL=world.database_url)[1] == "nothing to apply\n"


def test_after_migrating_an_empty_database_everything_begins(run: Run, empty_database_url: str) -> None:
    code, output, _ = run("migrate", DATABASE_URL=empty_database_url)
    assert (code, "applied log_main/0001_events.sql" in output) == (0, True)
    assert run("status", DATABASE_URL=empty_database_url)[0] == 0


@pytest.mark.parametrize("redis", [NOBODY_THERE, ""])
@pytest.mark.parametrize("command", ["migrate", "status", "status --json", "verify", "parked", "rebuild task_list"])
def test_a_command_that_does_not_need_redis_works_without_it(run: Run, database_url: str, command: str, redis: str) -> None:
    code, output, errors = run(command, DATABASE_URL=database_url, REDIS_URL=redis)
    assert (code, errors) == (0, "")
    assert output
    assert ("away" in output) is command.startswith("status")


@pytest.mark.parametrize("command", ["rebuild hot_tasks", "rebuild all", "parked --replay"])
def test_a_command_that_needs_redis_says_so_in_one_line(run: Run, database_url: str, command: str) -> None:
    for redis in (NOBODY_THERE, ""):
        code, output, errors = run(command, DATABASE_URL=database_url, REDIS_URL=redis)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith("error: REDIS_URL")


@pytest.mark.parametrize("redis", ["http://h", "redis://h:port", "redis://h/0?colour=red"])
@pytest.mark.parametrize("command", ["status", "verify", "migrate", "parked"])
def test_what_is_no_redis_at_all_is_told_in_one_line_also_where_none_is_needed(
    run: Run, database_url: str, command: str, redis: str
) -> None:
    code, output, errors = run(command, DATABASE_URL=database_url, REDIS_URL=redis)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("error: REDIS_URL: not a redis://")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TASKMASTER_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("TASKMASTER_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TASKMASTER_LIMIT_USER", "0/60"),
        ("TASKMASTER_LIMIT_USER", "5/0"),
        ("TASKMASTER_LIMIT_REPORTS", "1/99999999"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "work", "dev"])
def test_what_only_the_api_reads_is_told_before_any_process_is_started(
    run: Run, database_url: str, command: str, variable: str, text: str
) -> None:
    urls = {} if command == "dev" else {"DATABASE_URL": database_url, "REDIS_URL": NOBODY_THERE, "TASKMASTER_SECRET_KEY": KEY}
    code, output, errors = run(command, **urls, **{variable: text})
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"error: {variable}: ")


@pytest.mark.parametrize("command", ["status", "verify", "migrate", "parked", "rebuild all"])
def test_a_short_command_in_a_wrong_folder_says_so_and_makes_nothing(run: Run, tmp_path: Path, command: str) -> None:
    code, output, errors = run(command)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert str(tmp_path / "none") in errors
    assert "TASKMASTER_DATA_DIR" in errors
    assert "DATABASE_URL" in errors
    (tmp_path / "none").mkdir()
    assert run(command)[0] == 2
    assert os.listdir(tmp_path / "none") == []
    (tmp_path / "none").rmdir()


def test_the_api_starts_without_redis_and_serves(database_url: str, tmp_path: Path) -> None:
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": NOBODY_THERE,
        "TASKMASTER_SECRET_KEY": KEY,
        "TASKMASTER_DRAIN_SECONDS": "0",
        "TASKMASTER_DATA_DIR": str(tmp_path / "none"),
        # A process that never saw Redis knows of no budget and gives what comes back from now on: nothing at once.
        "TASKMASTER_LIMITS": "off",
    }
    with started("infrastructure.cli.main", "serve", environ=environ) as serve:
        assert serve.stdout is not None
        host, _, port = serve.stdout.readline().partition("http://")[2].split()[0].partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert (answer.status, answer.read() != b"") == (200, True)
        body = json.dumps({"email": "ada@example.org", "password": "correct horse battery", "display_name": "Ada"})
        connection.request("POST", "/api/v1/auth/register", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 201
        serve.terminate()
        _, told = serve.communicate(timeout=30)
    assert serve.returncode == 0
    assert told.startswith("REDIS_URL: ")
    assert "starting without it" in told.splitlines()[0]
