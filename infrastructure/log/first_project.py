"""The first project of a workspace, made by whoever writes to the log without the appender: an import, an operator."""

from typing import Any
from uuid import UUID

import psycopg

from application.first_project import first_project_appends
from application.log import ConditionViolated
from infrastructure.log.append_function import append_parameters, append_statement, read_outcomes


def make_first_project(connection: psycopg.Connection[Any], schema: str, workspace_id: UUID, principal_id: UUID) -> None:
    """Make it unless it is there, on an autocommit connection."""
    for append in first_project_appends(workspace_id, principal_id):
        cursor = connection.cursor(binary=True)
        cursor.execute(append_statement(schema), append_parameters([append]))
        (outcome,) = read_outcomes([append], cursor.fetchone() or ())
        if not isinstance(outcome, ConditionViolated):
            return
