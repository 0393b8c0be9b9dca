"""What is stored of a failure: what kind it was and where, and nothing of the rows and values that it met.

Messages of exceptions quote what they choke on, PostgreSQL's with whole rows. What is stored outlives the text that it quotes,
which may have to be erased; so no message is stored at all. The log, where events are read by their position, has the values.
"""

import traceback

import psycopg


def failure_told(error: BaseException) -> str:
    """The class of the error, for PostgreSQL the SQLSTATE and what it names in the schema, and the line that raised it."""
    told = [type(error).__name__]
    if isinstance(error, psycopg.Error) and error.sqlstate:
        named = {
            "table": error.diag.table_name,
            "column": error.diag.column_name,
            "constraint": error.diag.constraint_name,
        }
        told += [f"SQLSTATE {error.sqlstate}", *(f"{kind} {name}" for kind, name in named.items() if name)]
    raised = traceback.extract_tb(error.__traceback__)
    if raised:
        told.append(f"in {raised[-1].name}, line {raised[-1].lineno} of {raised[-1].filename.rpartition('/')[2]}")
    return ", ".join(told)
