"""The backup that can be restored: all of it or nothing, in a new epoch, and everything that follows the log notices."""

import stat
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.cli.backup import backup
from infrastructure.cli.restore import restore
from infrastructure.embedded.services import LocalServices
from infrastructure.log.verify import verify_log
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.read_models.rebuild import rebuild_all
from infrastructure.servers.migrate import migrate
from infrastructure.servers.postgres import connect_sync
from infrastructure.settings import ConfigurationError, Settings
from tests.importing import add_owner
from tests.infrastructure.command_line import Run, command_line
from tests.log_world import World, number, open_world

STATE = "SELECT t::text FROM {} t ORDER BY 1"
KEPT = ("log_main.events", "log_main.idempotency", "taskmaster.users", "taskmaster.members", "taskmaster.workspaces")


def rows(database_url: str, table: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(STATE.format(table).encode()).fetchall()


def epoch(database_url: str) -> int:
    with connect_sync(database_url, "log_main") as connection:
        return int((connection.execute("SELECT epoch FROM log").fetchone() or (0,))[0])


def head(database_url: str) -> int:
    return verify_log(database_url, "main").head


@pytest.fixture
def log_url(database_url: str, redis_url: str) -> str:
    """A database with a user and a log of thirty events."""
    add_owner(database_url)
    with open_world(database_url, redis_url) as world:
        for task in range(10):
            world.record(number(task), TaskCreated(title=f"task {task}"), TaskRenamed(title="a"), TaskRenamed(title="b"))
    return database_url


@pytest.fixture
def file(log_url: str, tmp_path: Path) -> Path:
    """A backup of it."""
    return backup(log_url, tmp_path / "log.backup").file


def test_what_was_backed_up_comes_back_row_for_row_in_a_new_epoch(
    run: Run, log_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    code, output, errors = run(f"backup {tmp_path / 'a'}", DATABASE_URL=log_url)
    assert (code, errors) == (0, "")
    assert "log main up to position 30, epoch 1" in output
    code, output, errors = run(f"restore {tmp_path / 'a'}", DATABASE_URL=empty_database_url)
    assert (code, errors) == (0, "")
    assert "log main is back, and begins epoch 2 at position 31" in output
    assert "every event up to position 31 is as it was appended" in output
    for table in KEPT:
        # The log's own stream is named at random, so its event of the new epoch may stand anywhere.
        restored = [row for row in rows(empty_database_url, table) if "log.epoch_began" not in repr(row)]
        assert restored == rows(log_url, table)
    assert (epoch(log_url), epoch(empty_database_url)) == (1, 2)
    assert migrate(empty_database_url, ["main"]) == []


def test_a_backup_is_its_owners_alone_and_leaves_no_draft(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_a_file_is_overwritten_only_when_that_is_said(run: Run, log_url: str, file: Path) -> None:
    file.write_text("something else")
    code, output, errors = run(f"backup {file}", DATABASE_URL=log_url)
    assert (code, output, errors) == (2, "", f"error: {file} exists: choose another name, or say --overwrite\n")
    assert file.read_text() == "something else"
    assert run(f"backup {file} --overwrite", DATABASE_URL=log_url)[0] == 0
    assert file.stat().st_size > 10_000


def test_what_a_database_holds_is_given_up_only_when_that_is_said(run: Run, world: World, log_url: str, file: Path) -> None:
    world.record(number(99), TaskCreated(title="newer than the backup"))
    world.close()
    code, output, errors = run(f"restore {file}", DATABASE_URL=log_url)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "holds log main up to position 31: say --replace" in errors
    assert (head(log_url), epoch(log_url)) == (31, 1)
    assert run(f"restore {file} --replace", DATABASE_URL=log_url)[0] == 0
    assert (head(log_url), epoch(log_url)) == (31, 2)


def test_nothing_is_restored_under_a_running_api_or_worker(run: Run, log_url: str, file: Path) -> None:
    with connect_sync(log_url, "log_main", "taskmaster api"):
        code, _, errors = run(f"restore {file} --replace", DATABASE_URL=log_url)
    assert (code, errors.count("\n")) == (2, 1)
    assert "stop its API and workers first" in errors
    assert epoch(log_url) == 1


def test_each_restore_begins_an_epoch_that_the_log_never_had(log_url: str, file: Path) -> None:
    assert [restore(log_url, file, replace=True)[0].epoch for _ in range(3)] == [2, 3, 4]


def test_every_session_ends_with_a_restore(log_url: str, tmp_path: Path) -> None:
    session, token = uuid4(), uuid4().bytes
    with connect_sync(log_url, "taskmaster") as connection:
        connection.execute(
            "INSERT INTO sessions (id, user_id, workspace_id, created_at, last_used_at, expires_at) "
            "SELECT %s, u.id, w.id, now(), now(), now() + interval '1 day' FROM users u, workspaces w",
            (session,),
        )
        connection.execute("INSERT INTO refresh_tokens VALUES (%s, %s, now(), now(), NULL)", (token, session))
    file = backup(log_url, tmp_path / "a").file
    restore(log_url, file, replace=True)
    with connect_sync(log_url, "taskmaster") as connection:
        found = connection.execute("SELECT revoked_at IS NOT NULL, revoked_in IS NOT NULL FROM sessions").fetchall()
    assert found == [(True, True)]


def _damaged(file: Path, kind: str) -> Path:
    whole = file.read_bytes()
    damaged = file.with_name("damaged")
    damaged.write_bytes(
        {
            "cut in half": whole[: len(whole) // 2],
            "without its end": whole[:-100],
            "empty": b"",
            "something else": b"PK\x03\x04 a workbook",
        }[kind]
    )
    return damaged


@pytest.mark.parametrize("kind", ["cut in half", "without its end", "empty", "something else"])
def test_a_damaged_backup_is_one_line_and_changes_nothing(run: Run, log_url: str, file: Path, kind: str) -> None:
    code, output, errors = run(f"restore {_damaged(file, kind)} --replace", DATABASE_URL=log_url)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("error: ")
    assert (head(log_url), epoch(log_url)) == (30, 1)


def test_a_restore_that_fails_at_its_last_step_leaves_everything_as_it_was(
    log_url: str, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    migrate(empty_database_url, ["main"])
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE FUNCTION taskmaster.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON log_main.log FOR EACH ROW EXECUTE FUNCTION taskmaster.refuse()"
        )
    file = backup(empty_database_url, tmp_path / "refusing").file
    with pytest.raises(ConfigurationError, match="no"):
        restore(log_url, file, replace=True)
    assert (head(log_url), epoch(log_url), len(rows(log_url, "taskmaster.users"))) == (30, 1, 1)


def test_another_databases_dump_is_not_taken_for_a_backup(
    run: Run, services: LocalServices, log_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    code, _, errors = run(f"backup {tmp_path / 'a'}", DATABASE_URL=empty_database_url)
    assert (code, "there is nothing to back up" in errors) == (2, True)
    assert not (tmp_path / "a").exists()
    code, _, errors = run(f"restore {tmp_path / 'a'} --replace", DATABASE_URL=log_url)
    assert (code, errors) == (2, f"error: there is no file {tmp_path / 'a'}\n")


def test_a_place_that_cannot_be_written_is_one_line(run: Run, log_url: str, tmp_path: Path) -> None:
    code, output, errors = run(f"backup {tmp_path / 'none-there' / 'a'}", DATABASE_URL=log_url)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "No such file or directory" in errors
    for command in (f"backup {tmp_path}", f"restore {tmp_path} --replace"):
        code, output, errors = run(command, DATABASE_URL=log_url)
        assert (code, output, errors.count("\n")) == (2, "", 1)


def test_a_newer_releases_backup_says_so(run: Run, log_url: str, empty_database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(log_url) as connection:
        connection.execute("INSERT INTO log_main.schema_migrations (name, checksum) VALUES ('0999_later.sql', 'x')")
    file = backup(log_url, tmp_path / "a").file
    code, _, errors = run(f"restore {file}", DATABASE_URL=empty_database_url)
    assert (code, errors.count("\n")) == (2, 1)
    assert "a newer release has migrated schema log_main" in errors


def test_an_installation_moves_to_another_folder_by_backup_and_restore(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = (open_folder / uuid4().hex[:8] for _ in range(2))
    with LocalServices(Settings(data_dir=str(old))) as services:
        migrate(services.database_url, ["main"])
        add_owner(services.database_url)
    assert command_line(monkeypatch, capfd, old)(f"backup {tmp_path / 'a'}")[0] == 0
    code, output, _ = command_line(monkeypatch, capfd, new)(f"restore {tmp_path / 'a'}")
    assert (code, "log main is back, and begins epoch 2 at position 1" in output) == (0, True)
    with LocalServices(Settings(data_dir=str(new))) as services:
        assert len(rows(services.database_url, "taskmaster.users")) == 1


def test_the_read_models_of_a_restored_log_rebuild_themselves(log_url: str, redis_url: str, tmp_path: Path) -> None:
    with open_world(log_url, redis_url) as before:
        before.project()
        file = backup(log_url, tmp_path / "a").file
        before.record(number(50), TaskCreated(title="lost with the restore"))
        before.project()
    restore(log_url, file, replace=True)
    with open_world(log_url, redis_url) as after:
        # The same length as the history that was lost, so that no position tells them apart.
        after.record(number(51), TaskCreated(title="appended afterwards"))
        projecting = LogProjecting(log_url, redis_url, "main")
        try:
            for _ in range(3):
                projecting.sweep()
        finally:
            projecting.close()
        titles = after.connection.execute("SELECT summary FROM task_list WHERE created_position > 30").fetchall()
        shown = (after.table_dump(), after.hot_dump())
        rebuild_all(log_url, redis_url, "main")
        assert (after.table_dump(), after.hot_dump()) == shown
    assert len(titles) == 1
    assert b"appended afterwards" in titles[0][0]
    assert b"lost with the restore" not in str(shown[1]).encode()
