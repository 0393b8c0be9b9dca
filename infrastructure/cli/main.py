"""The command line: `taskmaster …`, or `python -m infrastructure.cli.main …`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from uuid import UUID

import psycopg
import rich_click as click

from infrastructure.cli import starting
from infrastructure.cli.users import user_group
from infrastructure.embedded.home import LocalServiceError
from infrastructure.embedded.services import reachable_services
from infrastructure.servers.connection_check import check_postgres, check_redis, check_redis_address, one_line
from infrastructure.servers.migrate import migrate
from infrastructure.settings import ConfigurationError, Settings, load_settings, require_secret

BAD_CONFIGURATION = 2


def main() -> None:
    """Run the command line. What an operator can mend is one line on stderr and exit code 2, never a
    traceback.
    """
    try:
        taskmaster()
    except (ConfigurationError, LocalServiceError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(BAD_CONFIGURATION)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        click.echo(f"error: DATABASE_URL: {one_line(error)}", err=True)
        sys.exit(BAD_CONFIGURATION)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="taskmaster", prog_name="taskmaster")
def taskmaster() -> None:
    """Task management in which every change is a fact: appended once, ordered, provable, replayable."""


@taskmaster.command()
def dev() -> None:
    """Run everything in this terminal, with PostgreSQL and Valkey unless DATABASE_URL and REDIS_URL name
    others.
    """
    starting.run_dev(load_settings())


@taskmaster.command()
def serve() -> None:
    """Run the API against the configured servers."""
    starting.run_with_servers(require_secret(load_settings()), starting.api, has_url=True)


@taskmaster.command()
def work() -> None:
    """Run the relay and the workers against the configured servers."""
    starting.run_with_servers(load_settings(), starting.background, has_url=False)


@taskmaster.command("migrate")
def migrate_command() -> None:
    """Bring the database's schemas up to date."""
    with _reached(redis=False) as settings:
        check_postgres(settings.database_url)
        applied = migrate(settings.database_url, [settings.log_name])
        for name in applied:
            click.echo(f"applied {name}")
        retagged = import_module("infrastructure.cli.operations").retag(settings)
    if not applied and not retagged:
        click.echo("nothing to apply")


@taskmaster.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(as_json: bool) -> None:
    """Show the log's head, how far each read model is behind, and what is parked."""
    _operate("status", as_json=as_json)


@taskmaster.command()
@click.argument("name")
def rebuild(name: str) -> None:
    """Build the read model NAME again from the whole log."""
    _operate("rebuild", redis=name in import_module("infrastructure.cli.projection_operations").IN_REDIS, name=name)


@taskmaster.command()
@click.option("--replay", is_flag=True, help="Apply them again, after the fix.")
def parked(replay: bool) -> None:
    """List the events that projections had to set aside."""
    _operate("parked", redis=replay, replay=replay)


@taskmaster.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--read-models", is_flag=True, help="Also compare every read model with what the log makes of it.")
def verify(as_json: bool, read_models: bool) -> None:
    """Check that every event is as it was appended, by its hash and its place; exit code 1 if one is not."""
    _operate("verify", as_json=as_json, read_models=read_models)


@taskmaster.command()
@click.argument("ids", nargs=-1, required=True, type=click.UUID)
@click.confirmation_option(prompt="What the events of these streams say will be gone for ever. Erase it?")
def erase(ids: tuple[UUID, ...]) -> None:
    """Erase what all events so far of these tasks or other streams say, for ever. That they happened stays."""
    _operate("erase", streams=ids)


@taskmaster.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Take the place of a file of that name.")
def backup(file: Path, overwrite: bool) -> None:
    """Write accounts, logs and read models to FILE, as they are at one moment, while everything goes on."""
    with _reached(redis=False) as settings:
        check_postgres(settings.database_url)
        sys.exit(import_module("infrastructure.cli.operations").backup(settings, file=file, overwrite=overwrite))


@taskmaster.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Give up what the database holds now.")
def restore(file: Path, replace: bool) -> None:
    """Put the backup FILE into the database, in a new epoch, and check every hash. Stop the API and the workers before."""
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    with _reached(redis=False, make=True) as settings:
        check_postgres(settings.database_url)
        sys.exit(import_module("infrastructure.cli.operations").restore(settings, file=file, replace=replace))


@taskmaster.command("settings")
@click.option("--markdown", is_flag=True, help="All settings with their defaults, as the README shows them.")
def settings_command(markdown: bool) -> None:
    """Show every setting, its value here and what it is. Passwords and keys are not shown."""
    shown = import_module("infrastructure.cli.settings_table")
    if markdown:
        click.echo(shown.settings_table(), nl=False)
        return
    for variable, value, description in shown.settings_in_force(load_settings()):
        click.echo(f"{variable}={value}\n    {description}")


@taskmaster.group("import", invoke_without_command=True)
@click.option("--explain", metavar="MAPPING", help="Show what a mapping (its name or path) does, and import nothing.")
@click.pass_context
def import_group(context: click.Context, explain: str | None) -> None:
    """Import histories that began elsewhere."""
    if explain is not None:
        import_module("infrastructure.importing.explain").print_mapping(explain)
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(BAD_CONFIGURATION)


@import_group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--mapping",
    metavar="NAME_OR_PATH",
    help="What the columns and activities mean: helpdesk, bpi2013, sample or a TOML file. `sample` has its own.",
)
@click.option("--as", "email", required=True, metavar="EMAIL", help="Whose personal workspace gets the tickets.")
@click.option("--project", metavar="KEY", help="Which project gets them; the workspace's first one if not given.")
@click.option("--dry-run", is_flag=True, help="Decide everything, write nothing.")
@click.option("--strict", is_flag=True, help="Stop at the first row that is refused, before anything is written.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the summary as JSON.")
def tickets(
    file: Path, mapping: str | None, email: str, project: str | None, dry_run: bool, strict: bool, report: Path | None
) -> None:
    """Import a ticket history from FILE, CSV, plain or gzip; the word `sample` is the small one that ships.

    Run again, with the same file or a newer one, it adds what is new. Exit code 0: all rows are in. 3: some were refused.
    2: nothing was done. 1: it had to stop on its way.
    """
    files = import_module("infrastructure.importing.files")
    file, mapping = files.named_history(file, mapping)
    request = import_module("infrastructure.importing.tickets").ImportRequest(file, mapping, email, dry_run, strict, project)
    _operate("import_tickets", request=request, report=report)


def _with_database(work: Callable[[Settings], None]) -> None:
    with _reached(redis=False) as settings:
        check_postgres(settings.database_url, settings.log_name)
        work(settings)


taskmaster.add_command(user_group(_with_database))


def _operate(operation: str, /, *, redis: bool = False, **options: object) -> None:
    """Run an operation on a log that is there and of this release, with an embedded Valkey only where it needs one."""
    # Imported when asked for: the commands that start and stop processes shall not wait for all of it.
    operate = getattr(import_module("infrastructure.cli.operations"), operation)
    with _reached(redis=redis) as settings:
        check_postgres(settings.database_url, settings.log_name)
        sys.exit(operate(settings, **options))


@contextmanager
def _reached(*, redis: bool, make: bool = False) -> Iterator[Settings]:
    configured = load_settings()
    if configured.redis_url:
        (check_redis if redis else check_redis_address)(configured.redis_url)
    with reachable_services(configured, redis=redis, make=make) as settings:
        yield settings


if __name__ == "__main__":
    main()
