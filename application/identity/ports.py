"""What the account use cases need from the outside."""

from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from application.identity.records import Account, NewSession, NewUser, Profile, Rotation, Session
from application.principal import Principal


class AccountStore(Protocol):
    """Users, workspaces, members, sessions and refresh tokens. Each method is one transaction."""

    async def add_user(self, user: NewUser, session: NewSession) -> bool:
        """Add user, workspace, owner membership and first session; False if the e-mail address is taken."""

    async def account(self, email_key: str) -> Account | None:
        """The account of an address, with the workspace it signs in to (own ones first, then the oldest).

        None also where the user is disabled: nothing shall tell him from one who does not exist.
        """

    async def open_session(self, session: NewSession, password_hash: str) -> bool:
        """Add a session with its first refresh token, and drop the user's sessions that are long expired.

        False, adding nothing, if the user is gone or disabled or that is not his password's hash any more.
        """

    async def password_hash(self, user_id: UUID) -> str | None:
        """The hash of a user's password; None if there is no such user, or he is disabled."""

    async def change_password(self, user_id: UUID, old: str, new: str, keep: UUID) -> list[UUID] | None:
        """Replace the hash `old` and revoke the user's sessions but `keep`; the ids of those revoked.

        None, changing nothing, if that was not the hash any more.
        """

    async def replace_password_hash(self, user_id: UUID, old: str, new: str) -> bool:
        """Replace a hash of the same password; False if somebody else replaced it first."""

    async def rotate(
        self, presented_hash: bytes, successor_hash: bytes, now: datetime, token_life: timedelta
    ) -> Rotation | None:
        """Judge a refresh token under its family's lock: replace it, or revoke the family if it is a replay.

        None if the token is unknown or its principal is no longer a member.
        """

    async def revoke(self, user_id: UUID, session_id: UUID, reason: str) -> bool:
        """Revoke one live session of the user; False if there is none of that id."""

    async def revoke_all(self, user_id: UUID, keep: UUID | None, reason: str) -> list[UUID]:
        """Revoke the user's live sessions except `keep`; the ids of those revoked."""

    async def sessions(self, user_id: UUID, now: datetime) -> list[Session]:
        """The user's live sessions, last used first, at most 200."""

    async def profile(self, user_id: UUID, workspace_id: UUID) -> Profile | None:
        """The user as shown to himself in one of his workspaces."""


class PasswordHashing(Protocol):
    """Slow hashing, off the event loop and bounded."""

    def require_room(self) -> None:
        """Refuse, before anything else is done for it, what would be refused for a full line."""

    async def hash(self, password: str) -> str:
        """A new encoded hash."""

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it matches. `None` (no such user) costs the same time and is False."""

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""


class TokenIssuing(Protocol):
    """Making tokens; reading access tokens back is the edge's business."""

    def access_token(self, principal: Principal, issued_at: int) -> str:
        """A signed token that carries the principal until `principal.expires_at`."""

    def refresh_token(self) -> tuple[str, bytes]:
        """A new random token and the hash under which it is stored."""

    def refresh_token_hash(self, token: str) -> bytes:
        """The hash under which a presented token would be stored."""
