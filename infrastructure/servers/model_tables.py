"""The tables of the read models, made from what each read model says of its own."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg.sql import SQL, Identifier

from infrastructure.servers.postgres import log_schema, models_schema
from projections import CHECKPOINTS, HOT, TABLES, layouts

Connection = psycopg.Connection[Any]


class HasTables(Protocol):
    """A read model in Postgres, as far as its tables are concerned."""

    @property
    def name(self) -> str:
        """Of the read model."""

    @property
    def ddl(self) -> str:
        """The statements that make its tables."""


def create_model_tables(connection: Connection, schema: str, serving: str, models: Sequence[HasTables]) -> None:
    """Make the empty schema `schema` with the tables of the read models and their checkpoints at 0, for the log in `serving`.

    In the connection's open transaction; the connection's search path is as it was afterwards.
    """
    path = connection.execute("SELECT current_setting('search_path')").fetchone()
    connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    connection.execute(SQL("SET LOCAL search_path = {}").format(Identifier(schema)))
    for ddl in (CHECKPOINTS, *(model.ddl for model in models)):
        connection.execute(ddl.encode())
    connection.execute("SELECT set_config('search_path', %s, true)", path)
    add_checkpoints(connection, schema, serving, [model.name for model in models])


def add_checkpoints(connection: Connection, schema: str, serving: str, models: Iterable[str]) -> None:
    """Checkpoints at 0 for these read models; that in Redis keeps its place there."""
    statement = SQL("INSERT INTO {} (projection, layout, position, log_id, epoch) SELECT %s, %s, %s, log_id, epoch FROM {}")
    inserted = statement.format(Identifier(schema, "checkpoints"), Identifier(serving, "log"))
    for name in models:
        connection.execute(inserted, (name, layouts().get(name, ""), None if name == HOT else 0))


def create_if_empty(connection: Connection, log_name: str) -> None:
    """Make the read models of a log that holds no event yet; those of another one the workers build beside."""
    serving, schema = log_schema(log_name), models_schema(log_name)
    with connection.transaction():
        events = connection.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(serving, "events"))).fetchone()
        if events is None and not has_models(connection, log_name):
            create_model_tables(connection, schema, serving, TABLES)
            add_checkpoints(connection, schema, serving, [HOT])
            describe(connection, schema)


def has_models(connection: Connection, log_name: str) -> bool:
    """Whether the read models stand there in the layouts of this release."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{models_schema(log_name)}.checkpoints",)).fetchone()
    return bool(row and row[0])


def describe(connection: Connection, schema: str) -> None:
    """Say in the schema's comment, for people who look, which layouts it holds."""
    said = ", ".join(f"{name} {layout}" for name, layout in sorted(layouts().items()))
    connection.execute(SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(schema), f"read models: {said}"))
