"""The values that pass between the account use cases and their store. All times are aware UTC."""

from datetime import datetime
from uuid import UUID

import msgspec

from application.identity.rules import RefreshVerdict
from application.principal import Principal, Role


class Client(msgspec.Struct, frozen=True):
    """What is known of the program that signs in: shown in the list of sessions, trusted for nothing."""

    user_agent: str = ""
    ip: str = ""


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to add, with the personal workspace he will own."""

    user_id: UUID
    email: str
    email_key: str
    display_name: str
    password_hash: str
    workspace_id: UUID
    log: str
    created_at: datetime


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to add, with the hash of its first refresh token."""

    session_id: UUID
    user_id: UUID
    workspace_id: UUID
    created_at: datetime
    expires_at: datetime
    refresh_hash: bytes
    refresh_expires_at: datetime
    client: Client


class Account(msgspec.Struct, frozen=True):
    """What signing in needs to know of a user."""

    user_id: UUID
    password_hash: str
    workspace_id: UUID
    log: str
    role: Role


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a presented refresh token. `refresh_expires_at` is the successor's, if there is one."""

    verdict: RefreshVerdict
    session_id: UUID
    user_id: UUID
    workspace_id: UUID
    log: str
    role: Role
    session_expires_at: datetime
    refresh_expires_at: datetime


class Session(msgspec.Struct, frozen=True):
    """A live session as its user sees it."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str
    ip: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A user as shown to himself."""

    principal_id: UUID
    email: str
    display_name: str
    created_at: datetime
    workspace_id: UUID
    workspace_name: str
    role: Role


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """What signing in or refreshing gives: a short-lived access token, a refresh token that works once."""

    issued_at: datetime
    access_token: str
    access_expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime
    session_id: UUID
    principal: Principal
