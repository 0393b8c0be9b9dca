"""`taskmaster user …`: what an operator may do to accounts, as a group of commands."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from domain.errors import DomainError
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from infrastructure.identity.user_administration import UserAdministration

Reach = Callable[[Callable[[Settings], None]], None]


def user_group(reach: Reach) -> click.RichGroup:
    """The group. `reach` calls what it is given with settings whose database can be used."""

    @click.group("user")
    def user() -> None:
        """Create accounts, and end access: within a second, in every process."""

    for made in (_listing(reach), _creating(reach), _setting_password(reach), _deleting(reach), *_ending(reach)):
        user.add_command(made)
    return user


def _administering(reach: Reach, work: "Callable[[UserAdministration], None]") -> None:
    _working(reach, lambda administration, _: work(administration))


def _working(reach: Reach, work: "Callable[[UserAdministration, Settings], None]") -> None:
    def run(settings: Settings) -> None:
        module = import_module("infrastructure.identity.user_administration")
        try:
            work(module.UserAdministration(settings.database_url, settings.log_name), settings)
        except DomainError as refusal:
            raise ConfigurationError(refusal.message) from None

    reach(run)


_EMAIL = click.argument("email")
_PASSWORD_FILE = click.option(
    "--password-file",
    metavar="FILE",
    help="Where the password stands, `-` for standard input; asked for if not given. Never an argument: those are public.",
)


def _listing(reach: Reach) -> click.Command:
    @click.command("list")
    @click.option("--json", "as_json", is_flag=True, help="For machines.")
    def listing(as_json: bool) -> None:
        """Show all users."""

        def work(administration: "UserAdministration") -> None:
            for user in administration.users():
                if as_json:
                    shown: dict[str, Any] = msgspec.structs.asdict(user)
                    del shown["password_hash"]
                    click.echo(msgspec.json.encode(shown).decode())
                    continue
                state = "disabled" if user.disabled_at else f"{user.live_sessions} sessions"
                click.echo(f"{user.email}  {user.display_name}  since {user.created_at:%Y-%m-%d}  {state}  {user.user_id}")

        _administering(reach, work)

    return listing


def _creating(reach: Reach) -> click.Command:
    @click.command("create")
    @_EMAIL
    @click.option("--name", required=True, help="Shown to others.")
    @_PASSWORD_FILE
    def create(email: str, name: str, password_file: str | None) -> None:
        """Add a user with a workspace of his own."""
        password = _password(password_file)

        def work(administration: "UserAdministration", settings: Settings) -> None:
            made = administration.create(email, password, name)
            schema = log_schema(settings.log_name)
            with connect_sync(settings.database_url, schema, "taskmaster user") as connection:
                first = import_module("infrastructure.log.first_project")
                first.make_first_project(connection, schema, made.workspace_id, made.user_id)
            click.echo(f"created {email}: {made.user_id}")

        _working(reach, work)

    return create


def _setting_password(reach: Reach) -> click.Command:
    @click.command("set-password")
    @_EMAIL
    @_PASSWORD_FILE
    def set_password(email: str, password_file: str | None) -> None:
        """Give a user another password and end all his sessions."""
        password = _password(password_file)
        _administering(
            reach, lambda administration: click.echo(f"{_ended(administration.set_password(email, password))}; password set")
        )

    return set_password


def _deleting(reach: Reach) -> click.Command:
    @click.command("delete")
    @_EMAIL
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def delete(email: str, yes: bool) -> None:
        """Remove an account. What the user did stays in the log, under an id that leads to nobody."""
        if not yes:
            click.confirm(f"Delete the account {email} for good?", abort=True, err=True)

        def work(administration: "UserAdministration") -> None:
            gone = administration.delete(email)
            click.echo(f"removed: the account {gone.user.email}, {gone.sessions} sessions, {gone.tokens} refresh tokens")
            click.echo(f"replaced by 'Deleted user': the name in {gone.workspaces} workspaces")
            click.echo(f"kept: events, under the id {gone.user.user_id}, and what people wrote into tasks")

        _administering(reach, work)

    return delete


def _ending(reach: Reach) -> list[click.Command]:
    @click.command("disable")
    @_EMAIL
    def disable(email: str) -> None:
        """Let a user sign in no more, and end all his sessions."""
        _administering(
            reach,
            lambda administration: click.echo(f"disabled {email}: {_ended(administration.disable(email).live_sessions)}"),
        )

    @click.command("enable")
    @_EMAIL
    def enable(email: str) -> None:
        """Let a disabled user sign in again."""
        _administering(reach, lambda administration: click.echo(f"enabled {administration.enable(email).email}"))

    @click.command("end-sessions")
    @_EMAIL
    def end_sessions(email: str) -> None:
        """Sign a user out everywhere."""
        _administering(reach, lambda administration: click.echo(_ended(administration.end_sessions(email))))

    return [disable, enable, end_sessions]


def _ended(sessions: int) -> str:
    return f"{sessions} sessions ended" if sessions != 1 else "1 session ended"


def _password(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    try:
        text = sys.stdin.read() if file in (None, "-") else Path(str(file)).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--password-file: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("--password-file: it is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
