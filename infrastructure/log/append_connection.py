"""A connection that appends: one call of `append_events` is one transaction and one flush."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg

from application.log import Append
from infrastructure.log.append_function import append_parameters, append_statement, other_scheme
from infrastructure.processes.failpoints import failpoint
from projections.tables.binary_arrays import int4_array

Connect = Callable[[], Awaitable["psycopg.AsyncConnection[Any]"]]


class AppendConnection:
    """One call at a time. Opened by the first call, and again by the next one after it was lost.

    `on_reconnect` hears that a connection took another one's place.
    """

    def __init__(self, connect: Connect, schema: str, on_reconnect: Callable[[], None] = lambda: None) -> None:
        self._connect = connect
        # As bytes, for psycopg remembers what it made of those.
        self._statement = append_statement(schema).as_bytes()
        self._statement_with_chains = append_statement(schema, chains=True).as_bytes()
        self._on_reconnect = on_reconnect
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._cursor: psycopg.AsyncCursor[Any]
        self._wire: socket.socket | None = None

    async def open(self) -> None:
        """Connect; raises psycopg.OperationalError where the server is away."""
        connection = await self._connect()
        self._hang_up()
        self._wire = socket.socket(fileno=os.dup(connection.fileno()))
        self._cursor = connection.cursor(binary=True)
        self._connection = connection

    async def close(self) -> None:
        """Close it, if it is open."""
        self._hang_up()
        if self._connection:
            await self._connection.close()

    async def call(self, appends: Sequence[Append], seconds: float, follows: Sequence[int] = ()) -> Any:
        """The function's row for `appends`; raises psycopg's errors or OSError where it cannot be had, and OtherTagScheme.

        Those with the numbers `follows`, from 1, follow the one before them.
        Hangs up on a server that stays silent for so many seconds. Cancelling instead would ask that same server to cancel, and
        wait for its answer.
        """
        statement, parameters = self._statement, append_parameters(appends)
        if follows:
            statement, parameters = self._statement_with_chains, (*parameters, int4_array(follows))
        connection = self._connection
        if connection is None or connection.closed or connection.broken:
            await asyncio.wait_for(self.open(), seconds)
            if connection is not None:
                self._on_reconnect()
        failpoint("append.before_begin")
        wire = self._wire
        assert wire is not None  # noqa: S101 - every open connection has one
        timer = asyncio.get_running_loop().call_later(seconds, wire.shutdown, socket.SHUT_RDWR)
        try:
            failpoint("append.in_flight")
            await self._cursor.execute(statement, parameters, prepare=True)
            failpoint("append.after_commit")
            return await self._cursor.fetchone()
        except psycopg.DatabaseError as error:
            raise other_scheme(error) or error from None
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        if self._wire:
            self._wire.close()
            self._wire = None
