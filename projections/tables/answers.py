"""Answers in a pipeline, where statements go to the server without waiting for one another."""

from typing import Any

import psycopg


def answer_soon(connection: psycopg.Connection[Any]) -> None:
    """Ask for the answers to what was sent so far; the server keeps them until somebody waits for all of them otherwise.

    Whoever needs one of them a while later need not wait for what is sent until then. Out of a pipeline there is nothing to do.
    """
    if connection.info.pipeline_status:
        connection.pgconn.send_flush_request()
