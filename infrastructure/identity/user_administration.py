"""What an operator does to accounts. Whatever ends somebody's access ends it in every API process within a second."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import Connection
from psycopg.rows import class_row
from uuid_utils.compat import uuid7

from application.identity.rules import checked_display_name, chosen_password, email_key
from domain.errors import NotFound, RuleViolated
from infrastructure.identity.passwords import FLOOR
from infrastructure.servers.postgres import CONTROL_SCHEMA, connect_sync

_USER = """
SELECT u.id AS user_id, u.email, u.display_name, u.created_at, u.disabled_at, u.password_hash,
       (SELECT count(*) FROM sessions s WHERE s.user_id = u.id AND s.revoked_at IS NULL AND s.expires_at > now())
           AS live_sessions
FROM users u"""
_COUNTS = """
SELECT (SELECT count(*) FROM sessions WHERE user_id = %(user_id)s),
       (SELECT count(*) FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE s.user_id = %(user_id)s),
       (SELECT count(*) FROM members WHERE principal_id = %(user_id)s)"""
_END = """
UPDATE sessions SET revoked_at = clock_timestamp(), revoke_reason = 'ended_by_operator'
WHERE user_id = %s AND revoked_at IS NULL AND expires_at > clock_timestamp()"""


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as an operator sees him."""

    user_id: UUID
    email: str
    display_name: str
    created_at: datetime
    disabled_at: datetime | None
    password_hash: str
    live_sessions: int


class Created(msgspec.Struct, frozen=True):
    """A new user and his personal workspace, which is empty."""

    user_id: UUID
    workspace_id: UUID


class Removed(msgspec.Struct, frozen=True):
    """What went with a deleted user: rows of sessions and of tokens, and in how many workspaces his name was replaced."""

    user: KnownUser
    sessions: int
    tokens: int
    workspaces: int


class UserAdministration:
    """Each method is one transaction. Users are named by their e-mail address, in any spelling of it.

    Raises `NotFound` (`user_not_found`), and `InvalidValue` for what is no address.
    """

    def __init__(self, database_url: str, log_name: str) -> None:
        self._database_url = database_url
        self._log = log_name

    def create(self, email: str, password: str, display_name: str) -> Created:
        """Add a user with a personal workspace. Raises `RuleViolated` (`email_taken`), `InvalidValue`."""
        key, name = email_key(email), checked_display_name(display_name)
        password_hash = FLOOR.hash(chosen_password(password))
        user_id, workspace_id, now = uuid7(), uuid7(), datetime.now(UTC)
        with self._transaction() as connection:
            added = connection.execute(
                "INSERT INTO users (id, email, email_key, display_name, password_hash, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (email_key) DO NOTHING",
                (user_id, email, key, name, password_hash, now),
            )
            if added.rowcount == 0:
                raise RuleViolated("email_taken", "There is already an account with this e-mail address.", "email")
            connection.execute(
                "INSERT INTO workspaces (id, name, log, created_at) VALUES (%s, %s, %s, %s)",
                (workspace_id, name, self._log, now),
            )
            connection.execute(
                "INSERT INTO members (workspace_id, principal_id, role, display_name) VALUES (%s, %s, 'owner', %s)",
                (workspace_id, user_id, name),
            )
        return Created(user_id, workspace_id)

    def users(self) -> list[KnownUser]:
        """All users, the oldest first."""
        with self._transaction() as connection, connection.cursor(row_factory=class_row(KnownUser)) as cursor:
            return cursor.execute(f"{_USER} ORDER BY u.created_at, u.id".encode()).fetchall()

    def disable(self, email: str) -> KnownUser:
        """Let the user sign in no more and end his sessions; as he was before."""
        with self._transaction() as connection:
            user = _locked(connection, email)
            connection.execute(
                "UPDATE users SET disabled_at = coalesce(disabled_at, clock_timestamp()) WHERE id = %s", (user.user_id,)
            )
        return user

    def enable(self, email: str) -> KnownUser:
        """Let the user sign in again; the sessions that were ended stay so."""
        with self._transaction() as connection:
            user = _locked(connection, email)
            connection.execute("UPDATE users SET disabled_at = NULL WHERE id = %s", (user.user_id,))
        return user

    def end_sessions(self, email: str) -> int:
        """Sign the user out everywhere; from how many sessions."""
        with self._transaction() as connection:
            return connection.execute(_END, (_locked(connection, email).user_id,)).rowcount

    def set_password(self, email: str, password: str) -> int:
        """Give the user another password and sign him out everywhere; from how many sessions."""
        password_hash = FLOOR.hash(chosen_password(password))
        with self._transaction() as connection:
            user = _locked(connection, email)
            connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", (password_hash, user.user_id))
            return connection.execute(_END, (user.user_id,)).rowcount

    def delete(self, email: str) -> Removed:
        """Remove the account with its sessions and tokens, and the name wherever it was shown. What is in the log stays, under
        an id that leads to nobody any more.
        """
        with self._transaction() as connection:
            user = _locked(connection, email)
            counts = connection.execute(_COUNTS, {"user_id": user.user_id}).fetchone()
            connection.execute("DELETE FROM users WHERE id = %s", (user.user_id,))
        sessions, tokens, workspaces = counts or (0, 0, 0)
        return Removed(user, sessions, tokens, workspaces)

    def _transaction(self) -> "psycopg.Connection[Any]":
        connection = connect_sync(self._database_url, CONTROL_SCHEMA, "taskmaster user")
        connection.autocommit = False
        return connection


def _locked(connection: "Connection[Any]", email: str) -> KnownUser:
    with connection.cursor(row_factory=class_row(KnownUser)) as cursor:
        user = cursor.execute(f"{_USER} WHERE u.email_key = %s FOR UPDATE OF u".encode(), (email_key(email),)).fetchone()
    if user is None:
        raise NotFound("user_not_found", f"There is no user with the address {email}.", "email")
    return user
