"""What the account tests stand on: real use cases over a real database, with a movable clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import psycopg
from psycopg_pool import AsyncConnectionPool

from application.identity.accounts import Accounts
from application.identity.records import Client, TokenPair
from infrastructure.identity.accounts_store import PostgresAccountStore
from infrastructure.identity.passwords import PasswordHasher
from infrastructure.identity.revocations import RevocationWatch
from infrastructure.identity.tokens import KeyRing, TokenIssuer, TokenVerifier

SECRET = "a secret of the tests, long enough to sign with"
EMAIL = "Ada.Lovelace@Example.org"
PASSWORD = "correct horse battery"
CLIENT = Client("tests/1.0", "192.0.2.7")
ACCESS_SECONDS = 900


class CountingArgon(argon2.PasswordHasher):
    """The real thing, small, that also counts."""

    def __init__(self, **parameters: int) -> None:
        super().__init__(**({"time_cost": 1, "memory_cost": 64, "parallelism": 1} | parameters))
        self.verified: list[str | bytes] = []
        self.hashed: list[str | bytes] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 (the library's name)
        self.verified.append(password)
        return super().verify(hash, password)

    def hash(self, password: str | bytes, **options: Any) -> str:
        self.hashed.append(password)
        return super().hash(password, **options)


class World:
    """One API process' share of accounts. `clock` is a datetime that tests may move."""

    def __init__(self, database_url: str, pool: AsyncConnectionPool[Any], argon: CountingArgon) -> None:
        keys = KeyRing(SECRET)
        self.database_url = database_url
        self.clock = datetime.now(UTC)
        self.argon = argon
        self.passwords = PasswordHasher(argon)
        self.tokens = TokenIssuer(keys)
        self.verifier = TokenVerifier(keys)
        self.watch = RevocationWatch(database_url, self.verifier, ACCESS_SECONDS)
        self.store = PostgresAccountStore(pool)
        self.accounts = Accounts(
            self.store,
            self.passwords,
            self.tokens,
            log="main",
            on_revoked=self.watch.revoked,
            clock=lambda: self.clock,
        )

    async def register(self, email: str = EMAIL) -> TokenPair:
        return await self.accounts.register(email, PASSWORD, "Ada", CLIENT)

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> TokenPair:
        return await self.accounts.log_in(email, password, CLIENT)

    def pass_time(self, **delta: float) -> None:
        self.clock += timedelta(**delta)

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), arguments)
            return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_world(database_url: str, argon: CountingArgon | None = None) -> AsyncIterator[World]:
    """One process' accounts; open it twice for two processes over one database."""
    async with AsyncConnectionPool(database_url, min_size=1, max_size=8, open=False) as pool:
        world = World(database_url, pool, argon or CountingArgon())
        await world.rows("INSERT INTO taskmaster.logs (name) VALUES ('main') ON CONFLICT DO NOTHING")
        try:
            yield world
        finally:
            world.passwords.close()
            await world.watch.stop()


async def eventually(holds: Callable[[], bool], within: float) -> float:
    """Wait until `holds()`; the seconds it took. Raises `TimeoutError` after `within` seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 (what is waited for happens in another process)
            await asyncio.sleep(0.01)
    return loop.time() - begun
