"""`taskmaster user …` and plain SQL: access ends in every process within a second, and what is said to be removed is."""

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from application.identity.records import TokenPair
from domain.errors import NotFound, RuleViolated
from infrastructure.cli.main import main
from infrastructure.identity.tokens import InvalidToken
from infrastructure.identity.user_administration import UserAdministration
from infrastructure.settings import VARIABLES
from tests.accounts_world import EMAIL, PASSWORD, World, eventually, open_world
from tests.application.identity.test_accounts import code_of

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

ANOTHER = "battery staple correct horse"
Administer = Callable[[UserAdministration], object]


def is_refused(world: World, pair: TokenPair) -> bool:
    try:
        world.verifier.verify(pair.access_token, world.clock.timestamp())
    except InvalidToken as refused:
        return refused.code == "session_revoked"
    return False


def execute(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


ENDINGS: dict[str, Administer | str] = {
    "disable": lambda users: users.disable(EMAIL),
    "delete": lambda users: users.delete(EMAIL),
    "end-sessions": lambda users: users.end_sessions(EMAIL),
    "set-password": lambda users: users.set_password(EMAIL, ANOTHER),
    "psql: DELETE FROM users": "DELETE FROM taskmaster.users",
    "psql: DELETE FROM sessions": "DELETE FROM taskmaster.sessions",
    "psql: DELETE FROM workspaces": "DELETE FROM taskmaster.workspaces",
    "psql: TRUNCATE users": "TRUNCATE taskmaster.users CASCADE",
    "psql: disabled_at": "UPDATE taskmaster.users SET disabled_at = '2001-01-01'",
    "psql: revoked_at": "UPDATE taskmaster.sessions SET revoked_at = '2001-01-01'",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_access_ends_in_a_running_process_within_a_second(database_url: str, ending: str) -> None:
    async with open_world(database_url) as serving:
        pair, other = await serving.register(), await serving.register("eve@example.org")
        await serving.watch.start()
        assert not is_refused(serving, pair)
        end = ENDINGS[ending]
        if isinstance(end, str):
            await asyncio.to_thread(execute, database_url, end)
        else:
            await asyncio.to_thread(end, UserAdministration(database_url, "main"))
        await eventually(lambda: is_refused(serving, pair), within=1.0)
        assert (await code_of(serving.accounts.refresh(pair.refresh_token))) == "invalid_refresh_token"
        if not ending.startswith("psql"):
            assert not is_refused(serving, other)


async def test_a_process_that_starts_later_refuses_a_deleted_users_token_too(database_url: str) -> None:
    async with open_world(database_url) as before, open_world(database_url) as later:
        pair = await before.register()
        UserAdministration(database_url, "main").delete(EMAIL)
        await later.watch.start()
        assert is_refused(later, pair)


async def test_a_disabled_user_is_answered_like_a_wrong_password_and_may_come_back(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.register()
        administration = UserAdministration(database_url, "main")
        administration.disable(EMAIL)
        world.argon.verified.clear()
        assert await code_of(world.log_in()) == await code_of(world.log_in(password="wrong, but long")) == "invalid_credentials"
        assert len(world.argon.verified) == 2
        administration.enable(EMAIL)
        assert await world.log_in()


async def test_a_deleted_user_leaves_no_name_and_no_address_anywhere(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await world.accounts.refresh(pair.refresh_token)
        gone = UserAdministration(database_url, "main").delete(EMAIL.upper())
        assert (gone.sessions, gone.tokens, gone.workspaces) == (1, 2, 1)
        for table in ("users", "sessions", "refresh_tokens"):
            assert await world.rows(f"SELECT count(*) FROM taskmaster.{table}") == [(0,)]
        assert await world.rows("SELECT principal_id, display_name FROM taskmaster.members") == [
            (pair.principal.principal_id, "Deleted user")
        ]
        assert await world.rows("SELECT name FROM taskmaster.workspaces") == [("Deleted user",)]
        assert await code_of(world.log_in()) == "invalid_credentials"


async def test_an_address_that_was_deleted_may_be_registered_again_as_somebody_else(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        UserAdministration(database_url, "main").delete(EMAIL)
        assert (await world.register()).principal.principal_id != pair.principal.principal_id


async def test_a_created_user_signs_in_and_is_listed(database_url: str) -> None:
    async with open_world(database_url) as world:
        administration = UserAdministration(database_url, "main")
        user_id = administration.create(EMAIL, PASSWORD, "Ada").user_id
        assert (await world.log_in()).principal.principal_id == user_id
        assert [(user.email, user.display_name, user.live_sessions) for user in administration.users()] == [(EMAIL, "Ada", 1)]
        with pytest.raises(RuleViolated):
            administration.create(EMAIL.upper(), PASSWORD, "Ada")


@pytest.mark.parametrize(
    "work",
    [lambda users: users.disable("nobody@example.org"), lambda users: users.delete("nobody@example.org")],
)
def test_nobody_is_not_found(database_url: str, anyio_backend: str, work: Administer) -> None:
    with pytest.raises(NotFound):
        work(UserAdministration(database_url, "main"))


class Terminal:
    """The command line with a database, and nobody at the keyboard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], database_url: str) -> None:
        self._patch, self._captured = monkeypatch, capfd
        for variable in VARIABLES.values():
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("DATABASE_URL", database_url)

    def run(self, *arguments: str, said: str = "") -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["taskmaster", "user", *arguments])
        self._patch.setattr(sys, "stdin", io.StringIO(said))
        self._captured.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = self._captured.readouterr()
        return int(ended.value.code or 0), output, errors


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], database_url: str) -> Terminal:
    return Terminal(monkeypatch, capfd, database_url)


def test_an_operator_creates_lists_disables_and_deletes(terminal: Terminal, anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    assert terminal.run("create", EMAIL, "--name", "Ada", "--password-file", str(tmp_path / "password"))[0] == 0
    assert terminal.run("create", "eve@example.org", "--name", "Eve", said=f"{PASSWORD}\n")[0] == 0
    code, output, _ = terminal.run("list", "--json")
    shown: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    assert (code, [each["email"] for each in shown]) == (0, [EMAIL, "eve@example.org"])
    assert "argon2" not in output
    assert terminal.run("disable", EMAIL)[:2] == (0, f"disabled {EMAIL}: 0 sessions ended\n")
    assert "disabled" in terminal.run("list")[1]
    assert terminal.run("enable", EMAIL)[0] == 0
    assert terminal.run("set-password", EMAIL, said=ANOTHER)[0] == 0
    code, output, _ = terminal.run("delete", EMAIL, "--yes")
    assert code == 0
    assert "0 sessions" in output
    assert "Deleted user" in output


@pytest.mark.parametrize(
    ("arguments", "said", "why"),
    [
        (("disable", "nobody@example.org"), "", "no user"),
        (("end-sessions", "no address"), "", "e-mail address"),
        (("create", EMAIL, "--name", "Ada"), "short", "at least 10"),
        (("create", EMAIL, "--name", "Ada", "--password-file", "/nonexistent"), "", "cannot read"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    terminal: Terminal, anyio_backend: str, arguments: tuple[str, ...], said: str, why: str
) -> None:
    code, output, errors = terminal.run(*arguments, said=said)
    assert (code, output) == (2, "")
    assert why in errors
    assert errors.count("\n") == 1


def test_a_password_is_no_argument(terminal: Terminal, anyio_backend: str) -> None:
    code, _, errors = terminal.run("create", EMAIL, PASSWORD, "--name", "Ada")
    assert code == 2
    assert "unexpected" in errors
