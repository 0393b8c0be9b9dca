"""Accounts in PostgreSQL, schema `taskmaster`: the adapter behind `application.identity.ports.AccountStore`."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from application.identity.records import Account, NewSession, NewUser, Profile, Rotation, Session
from application.identity.rules import refresh_verdict
from application.principal import Role

Connection = AsyncConnection[Any]

_ADD_USER = """
INSERT INTO taskmaster.users (id, email, email_key, display_name, password_hash, created_at)
VALUES (%(user_id)s, %(email)s, %(email_key)s, %(display_name)s, %(password_hash)s, %(created_at)s)
ON CONFLICT (email_key) DO NOTHING"""

_ADD_WORKSPACE = """
INSERT INTO taskmaster.workspaces (id, name, log, created_at)
VALUES (%(workspace_id)s, %(display_name)s, %(log)s, %(created_at)s)"""

_ADD_OWNER = """
INSERT INTO taskmaster.members (workspace_id, principal_id, role, display_name)
VALUES (%(workspace_id)s, %(user_id)s, 'owner', %(display_name)s)"""

_ACCOUNT = """
SELECT u.id AS user_id, u.password_hash, w.id AS workspace_id, w.log, m.role
FROM taskmaster.users u
JOIN taskmaster.members m ON m.principal_id = u.id AND m.role <> 'imported'
JOIN taskmaster.workspaces w ON w.id = m.workspace_id
WHERE u.email_key = %s AND u.disabled_at IS NULL
ORDER BY m.role <> 'owner', w.created_at, w.id
LIMIT 1"""

# Whoever disables the user or changes his password waits for this lock, and then finds the session to end it.
_STILL_GOOD = """
SELECT 1 FROM taskmaster.users WHERE id = %s AND password_hash = %s AND disabled_at IS NULL FOR SHARE"""

_OPEN_SESSION = """
WITH session AS (
    INSERT INTO taskmaster.sessions
        (id, user_id, workspace_id, created_at, last_used_at, expires_at, user_agent, ip)
    VALUES (%(session_id)s, %(user_id)s, %(workspace_id)s, %(created_at)s, %(created_at)s, %(expires_at)s,
            %(user_agent)s, %(ip)s)
    RETURNING id)
INSERT INTO taskmaster.refresh_tokens (token_hash, session_id, issued_at, expires_at)
SELECT %(refresh_hash)s, id, %(created_at)s, %(refresh_expires_at)s FROM session"""

_DROP_EXPIRED = "DELETE FROM taskmaster.sessions WHERE user_id = %s AND expires_at < %s"

# The session's row is the family's lock: rotations and revocations of one family wait for each other here.
_LOCK_FAMILY = """
SELECT s.id AS session_id, s.user_id, s.workspace_id, s.expires_at AS session_expires_at, s.revoked_at,
       w.log, m.role
FROM taskmaster.sessions s
JOIN taskmaster.workspaces w ON w.id = s.workspace_id
JOIN taskmaster.members m ON m.workspace_id = s.workspace_id AND m.principal_id = s.user_id
WHERE s.id = (SELECT session_id FROM taskmaster.refresh_tokens WHERE token_hash = %s)
FOR UPDATE OF s"""

_PRESENTED = "SELECT expires_at, rotated_at FROM taskmaster.refresh_tokens WHERE token_hash = %s"

_ROTATE = """
WITH used AS (
    UPDATE taskmaster.sessions SET last_used_at = %(now)s WHERE id = %(session_id)s)
UPDATE taskmaster.refresh_tokens SET rotated_at = %(now)s WHERE token_hash = %(presented)s"""

_ADD_SUCCESSOR = """
INSERT INTO taskmaster.refresh_tokens (token_hash, session_id, issued_at, expires_at)
VALUES (%(successor)s, %(session_id)s, %(now)s, %(expires_at)s)"""

_REVOKE = """
UPDATE taskmaster.sessions SET revoked_at = clock_timestamp(), revoke_reason = %(reason)s
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > clock_timestamp()
  AND (%(only)s::uuid IS NULL OR id = %(only)s) AND (%(keep)s::uuid IS NULL OR id <> %(keep)s)
RETURNING id"""

_SESSIONS = """
SELECT id AS session_id, created_at, last_used_at, expires_at, user_agent, ip
FROM taskmaster.sessions
WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s
ORDER BY last_used_at DESC, id DESC
LIMIT 200"""

_PROFILE = """
SELECT u.id AS principal_id, u.email, u.display_name, u.created_at, w.id AS workspace_id,
       w.name AS workspace_name, m.role
FROM taskmaster.users u
JOIN taskmaster.members m ON m.principal_id = u.id
JOIN taskmaster.workspaces w ON w.id = m.workspace_id
WHERE u.id = %s AND w.id = %s"""


class _Family(msgspec.Struct, frozen=True, kw_only=True):
    session_id: UUID
    user_id: UUID
    workspace_id: UUID
    session_expires_at: datetime
    revoked_at: datetime | None
    log: str
    role: Role


class PostgresAccountStore:
    """Each method is one transaction on a pooled connection; the port's docstrings give the guarantees."""

    def __init__(self, pool: "AsyncConnectionPool[Connection]") -> None:
        self._pool = pool

    async def add_user(self, user: NewUser, session: NewSession) -> bool:
        async with self._pool.connection() as connection, connection.transaction():
            row = msgspec.structs.asdict(user)
            if (await connection.execute(_ADD_USER, row)).rowcount == 0:
                return False
            await connection.execute(_ADD_WORKSPACE, row)
            await connection.execute(_ADD_OWNER, row)
            await _insert_session(connection, session)
            return True

    async def account(self, email_key: str) -> Account | None:
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(Account)) as cursor,
        ):
            return await (await cursor.execute(_ACCOUNT, [email_key])).fetchone()

    async def open_session(self, session: NewSession, password_hash: str) -> bool:
        async with self._pool.connection() as connection, connection.transaction():
            if (await connection.execute(_STILL_GOOD, [session.user_id, password_hash])).rowcount == 0:
                return False
            await _insert_session(connection, session)
            # Here rather than in a job of its own: whoever adds rows clears away his own old ones.
            await connection.execute(_DROP_EXPIRED, [session.user_id, session.created_at - timedelta(days=1)])
            return True

    async def password_hash(self, user_id: UUID) -> str | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT password_hash FROM taskmaster.users WHERE id = %s AND disabled_at IS NULL", [user_id]
            )
            row = await cursor.fetchone()
            return str(row[0]) if row else None

    async def replace_password_hash(self, user_id: UUID, old: str, new: str) -> bool:
        async with self._pool.connection() as connection:
            return await _replace_hash(connection, user_id, old, new)

    async def change_password(self, user_id: UUID, old: str, new: str, keep: UUID) -> list[UUID] | None:
        async with self._pool.connection() as connection, connection.transaction():
            if not await _replace_hash(connection, user_id, old, new):
                return None
            return await _revoke(connection, user_id, "password_changed", keep=keep)

    async def rotate(
        self, presented_hash: bytes, successor_hash: bytes, now: datetime, token_life: timedelta
    ) -> Rotation | None:
        async with self._pool.connection() as connection, connection.transaction():
            family = await _lock_family(connection, presented_hash)
            # A second statement: only a new snapshot shows what the lock's last holder did to the token.
            token = await (await connection.execute(_PRESENTED, [presented_hash])).fetchone()
            if family is None or token is None:
                return None
            verdict = refresh_verdict(
                rotated=token[1] is not None,
                token_expires_at=token[0],
                revoked=family.revoked_at is not None,
                session_expires_at=family.session_expires_at,
                now=now,
            )
            expires_at = min(now + token_life, family.session_expires_at)
            if verdict == "reused":
                await _revoke(connection, family.user_id, "refresh_token_reused", only=family.session_id)
            elif verdict == "rotate":
                row = {"now": now, "session_id": family.session_id, "expires_at": expires_at}
                await connection.execute(_ROTATE, row | {"presented": presented_hash})
                await connection.execute(_ADD_SUCCESSOR, row | {"successor": successor_hash})
            return Rotation(
                verdict=verdict,
                session_id=family.session_id,
                user_id=family.user_id,
                workspace_id=family.workspace_id,
                log=family.log,
                role=family.role,
                session_expires_at=family.session_expires_at,
                refresh_expires_at=expires_at,
            )

    async def revoke(self, user_id: UUID, session_id: UUID, reason: str) -> bool:
        async with self._pool.connection() as connection:
            return bool(await _revoke(connection, user_id, reason, only=session_id))

    async def revoke_all(self, user_id: UUID, keep: UUID | None, reason: str) -> list[UUID]:
        async with self._pool.connection() as connection:
            return await _revoke(connection, user_id, reason, keep=keep)

    async def sessions(self, user_id: UUID, now: datetime) -> list[Session]:
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(Session)) as cursor,
        ):
            return await (await cursor.execute(_SESSIONS, [user_id, now])).fetchall()

    async def profile(self, user_id: UUID, workspace_id: UUID) -> Profile | None:
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(Profile)) as cursor,
        ):
            return await (await cursor.execute(_PROFILE, [user_id, workspace_id])).fetchone()


async def _replace_hash(connection: Connection, user_id: UUID, old: str, new: str) -> bool:
    cursor = await connection.execute(
        "UPDATE taskmaster.users SET password_hash = %s WHERE id = %s AND password_hash = %s AND disabled_at IS NULL",
        [new, user_id, old],
    )
    return cursor.rowcount == 1


async def _insert_session(connection: Connection, session: NewSession) -> None:
    row = msgspec.structs.asdict(session) | msgspec.structs.asdict(session.client)
    del row["client"]
    await connection.execute(_OPEN_SESSION, row)


async def _lock_family(connection: Connection, token_hash: bytes) -> _Family | None:
    cursor: AsyncCursor[_Family]
    async with connection.cursor(row_factory=class_row(_Family)) as cursor:
        return await (await cursor.execute(_LOCK_FAMILY, [token_hash])).fetchone()


async def _revoke(
    connection: Connection, user_id: UUID, reason: str, *, only: UUID | None = None, keep: UUID | None = None
) -> list[UUID]:
    cursor = await connection.execute(_REVOKE, {"user_id": user_id, "reason": reason, "only": only, "keep": keep})
    return [row[0] for row in await cursor.fetchall()]
