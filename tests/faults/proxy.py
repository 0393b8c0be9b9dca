"""A PostgreSQL proxy that cuts connections exactly between a commit and its reply, or before a request."""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_COMMAND_COMPLETE = b"C"
_READY_FOR_QUERY = b"Z"
_AUTHENTICATION = b"R"


class PostgresProxy:
    """Forwards from a unix socket of its own to the server's. An asynchronous context manager.

    `url` is the way through it. It knows the protocol: a statement's reply is cut when the server has sent
    CommandComplete and ReadyForQuery, so its implicit transaction is committed, and nothing of it has been
    passed on. `cuts` counts what was cut.
    """

    def __init__(self, database_url: str) -> None:
        given = conninfo_to_dict(database_url)
        name = f".s.PGSQL.{given['port']}"
        self._target = str(Path(str(given["host"])) / name)
        # Not pytest's folder: the path of a socket may have about a hundred characters.
        self._folder = tempfile.mkdtemp(prefix="proxy-")
        self._socket = str(Path(self._folder) / name)
        self.url = make_conninfo(database_url, host=self._folder)
        self.cuts = 0
        self._replies_to_cut = 0
        self._requests_to_cut = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "PostgresProxy":
        self._server = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await self._server.wait_closed()
        shutil.rmtree(self._folder)

    def cut_replies(self, count: int = 1) -> None:
        """Lose the replies to the next `count` completed statements, with their connections."""
        self._replies_to_cut = count

    def cut_requests(self, count: int = 1) -> None:
        """Lose the next `count` things that a client sends, with their connections, before the server sees
        them.
        """
        self._requests_to_cut = count

    def cut_all(self) -> None:
        """Close every connection now."""
        for writer in list(self._connections):
            writer.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._target)
        ends = {to_client, to_server}
        self._connections |= ends
        pumps = [
            asyncio.ensure_future(self._requests(client, to_server)),
            asyncio.ensure_future(self._replies(server, to_client)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for writer in ends:
            writer.close()
        self._connections -= ends

    async def _requests(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while sent := await client.read(65_536):
            if self._requests_to_cut:
                self._requests_to_cut -= 1
                self.cuts += 1
                return
            to_server.write(sent)
            await to_server.drain()

    async def _replies(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        held = bytearray()
        completed = False
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await server.readexactly(5)
                held += head + await server.readexactly(int.from_bytes(head[1:], "big") - 4)
                kind = head[:1]
                completed = completed or kind == _COMMAND_COMPLETE
                if kind == _READY_FOR_QUERY and completed and self._replies_to_cut:
                    self._replies_to_cut -= 1
                    self.cuts += 1
                    return
                # While a cut is due, a reply is held until it is whole, so that no part of it slips through.
                if kind in {_READY_FOR_QUERY, _AUTHENTICATION} or not self._replies_to_cut:
                    to_client.write(bytes(held))
                    held.clear()
                    await to_client.drain()
                if kind == _READY_FOR_QUERY:
                    completed = False
