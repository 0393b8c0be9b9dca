"""Ids as the read side meets them in the log: the same few again and again, event by event.

Each stands for one object, made once and compared by identity: to make a UUID takes longer than to read all else of a column.
"""

from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

MOST: Final = 20_000


class _KnownUuids(Loader):
    format = Format.BINARY
    known: Final[dict[bytes, UUID]] = {}

    def load(self, data: Buffer) -> UUID:
        key = bytes(data)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MOST:
                self.known.clear()
            found = self.known[key] = UUID(bytes=key)
        return found


def load_known_uuids(connection: psycopg.Connection[Any]) -> None:
    """Let the connection read ids so, where they come in binary form."""
    connection.adapters.register_loader("uuid", _KnownUuids)
