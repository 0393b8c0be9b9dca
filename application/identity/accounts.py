"""Accounts: registering, signing in and out, and the sessions in between."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from application.identity.ports import AccountStore, PasswordHashing, TokenIssuing
from application.identity.records import Client, NewSession, NewUser, Profile, Session, TokenPair
from application.identity.rules import (
    checked_display_name,
    chosen_password,
    email_key,
    presented_password,
    shortened,
)
from application.principal import Principal, Role
from domain.errors import NotAuthenticated, NotFound, NotPermitted, RuleViolated

logger = logging.getLogger("taskmaster.accounts")

REFRESH_TOKEN_MAX = 200


class Lifetimes(msgspec.Struct, frozen=True):
    """How long things live. `refresh` is the idle limit too; `session` ends even a busy one."""

    access: timedelta = timedelta(minutes=15)
    refresh: timedelta = timedelta(days=30)
    session: timedelta = timedelta(days=90)


async def nothing_more(workspace_id: UUID, user_id: UUID) -> None:
    """A workspace begins empty."""


class Accounts:
    """The use cases. `on_revoked` is told of every session that this process revokes, after the commit.

    `on_registered` makes what a new workspace begins with. What keeps it from that is no refusal: the account is there, and
    whoever needs it first makes it.
    """

    def __init__(  # noqa: PLR0913 (all but the ports by name)
        self,
        store: AccountStore,
        passwords: PasswordHashing,
        tokens: TokenIssuing,
        *,
        log: str,
        on_revoked: Callable[[UUID], None],
        on_registered: Callable[[UUID, UUID], Awaitable[None]] = nothing_more,
        lifetimes: Lifetimes = Lifetimes(),  # noqa: B008 (frozen)
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._log = log
        self._on_revoked = on_revoked
        self._on_registered = on_registered
        self._lifetimes = lifetimes
        self._clock = clock
        self._new_id = new_id

    async def register(self, email: str, password: str, display_name: str, client: Client) -> TokenPair:
        """Add a user with a workspace and sign in. Raises `RuleViolated` (`email_taken`), `InvalidValue`."""
        key = email_key(email)
        name = checked_display_name(display_name)
        password_hash = await self._passwords.hash(chosen_password(password))
        now = self._clock()
        user = NewUser(
            user_id=self._new_id(),
            email=email,
            email_key=key,
            display_name=name,
            password_hash=password_hash,
            workspace_id=self._new_id(),
            log=self._log,
            created_at=now,
        )
        session, refresh_token = self._new_session(user.user_id, user.workspace_id, client, now)
        if not await self._store.add_user(user, session):
            raise RuleViolated("email_taken", "There is already an account with this e-mail address.", "email")
        try:
            await self._on_registered(user.workspace_id, user.user_id)
        except Exception:
            logger.warning("workspace %s has no first project yet", user.workspace_id, exc_info=True)
        return self._pair(session, refresh_token, log=self._log, role="owner", now=now)

    async def log_in(self, email: str, password: str, client: Client) -> TokenPair:
        """Open a session. Raises `NotAuthenticated` (`invalid_credentials`), after the same work for a wrong
        password, an unknown address and a disabled user.
        """
        invalid = NotAuthenticated("invalid_credentials", "The e-mail address or the password is wrong.")
        presented = presented_password(password)
        self._passwords.require_room()
        account = await self._store.account(email_key(email))
        matches = await self._passwords.verify(account.password_hash if account else None, presented)
        if account is None or not matches:
            raise invalid
        proved = account.password_hash
        if self._passwords.is_outdated(proved):
            renewed = await self._passwords.hash(presented)
            if await self._store.replace_password_hash(account.user_id, proved, renewed):
                proved = renewed
        now = self._clock()
        session, refresh_token = self._new_session(account.user_id, account.workspace_id, client, now)
        # Hashing takes its time, in which the user may have been disabled or given another password.
        if not await self._store.open_session(session, proved):
            raise invalid
        return self._pair(session, refresh_token, log=account.log, role=account.role, now=now)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for the next pair; the token is then used up.

        A token presented a second time means that it was stolen or its answer lost: the session is revoked.
        Raises `NotAuthenticated` (`invalid_refresh_token`, `refresh_token_reused`).
        """
        invalid = NotAuthenticated("invalid_refresh_token", "The refresh token is unknown, expired or revoked.")
        if not 0 < len(refresh_token) <= REFRESH_TOKEN_MAX:
            raise invalid
        now = self._clock()
        successor, successor_hash = self._tokens.refresh_token()
        presented_hash = self._tokens.refresh_token_hash(refresh_token)
        rotation = await self._store.rotate(presented_hash, successor_hash, now, self._lifetimes.refresh)
        if rotation is None or rotation.verdict == "invalid":
            raise invalid
        if rotation.verdict == "reused":
            self._on_revoked(rotation.session_id)
            raise NotAuthenticated("refresh_token_reused", "The refresh token was used before; its session is revoked.")
        access_expires_at = self._access_expiry(now, rotation.session_expires_at)
        principal = Principal(
            rotation.user_id,
            rotation.session_id,
            rotation.workspace_id,
            rotation.log,
            rotation.role,
            int(access_expires_at.timestamp()),
        )
        return self._signed(principal, successor, rotation.refresh_expires_at, now)

    async def log_out(self, principal: Principal) -> None:
        """Revoke the principal's own session; doing so twice is no error."""
        await self._store.revoke(principal.principal_id, principal.session_id, "logged_out")
        self._on_revoked(principal.session_id)

    async def change_password(self, principal: Principal, old: str, new: str) -> int:
        """Set another password and end all other sessions; how many.

        Raises `NotPermitted` (`wrong_password`) where `old` is not the present one, `InvalidValue` naming the field.
        """
        chosen = chosen_password(new, "new_password")
        presented = presented_password(old, "old_password")
        stored = await self._store.password_hash(principal.principal_id)
        wrong = NotPermitted("wrong_password", "The old password is wrong.")
        if not await self._passwords.verify(stored, presented) or stored is None:
            raise wrong
        renewed = await self._passwords.hash(chosen)
        revoked = await self._store.change_password(principal.principal_id, stored, renewed, principal.session_id)
        if revoked is None:
            raise wrong
        for session_id in revoked:
            self._on_revoked(session_id)
        return len(revoked)

    async def sessions(self, principal: Principal) -> list[Session]:
        """The principal's live sessions, last used first."""
        return await self._store.sessions(principal.principal_id, self._clock())

    async def revoke_session(self, principal: Principal, session_id: UUID) -> None:
        """Revoke one of the principal's sessions. Raises `NotFound` (`session_not_found`)."""
        if not await self._store.revoke(principal.principal_id, session_id, "revoked_by_user"):
            raise NotFound("session_not_found", "There is no such live session.")
        self._on_revoked(session_id)

    async def revoke_all_sessions(self, principal: Principal, *, keep_current: bool) -> int:
        """Revoke all of the principal's sessions, or all but the current one; how many."""
        keep = principal.session_id if keep_current else None
        revoked = await self._store.revoke_all(principal.principal_id, keep, "revoked_by_user")
        for session_id in revoked:
            self._on_revoked(session_id)
        return len(revoked)

    async def profile(self, principal: Principal) -> Profile:
        """The principal's own profile. Raises `NotFound` (`account_not_found`) once it is erased."""
        profile = await self._store.profile(principal.principal_id, principal.workspace_id)
        if profile is None:
            raise NotFound("account_not_found", "There is no such account.")
        return profile

    def _new_session(self, user_id: UUID, workspace_id: UUID, client: Client, now: datetime) -> tuple[NewSession, str]:
        refresh_token, refresh_hash = self._tokens.refresh_token()
        session = NewSession(
            session_id=self._new_id(),
            user_id=user_id,
            workspace_id=workspace_id,
            created_at=now,
            expires_at=now + self._lifetimes.session,
            refresh_hash=refresh_hash,
            refresh_expires_at=now + min(self._lifetimes.refresh, self._lifetimes.session),
            client=Client(shortened(client.user_agent), shortened(client.ip)),
        )
        return session, refresh_token

    def _access_expiry(self, now: datetime, session_expires_at: datetime) -> datetime:
        return min(now + self._lifetimes.access, session_expires_at)

    def _pair(self, session: NewSession, refresh_token: str, *, log: str, role: Role, now: datetime) -> TokenPair:
        expires_at = int(self._access_expiry(now, session.expires_at).timestamp())
        principal = Principal(session.user_id, session.session_id, session.workspace_id, log, role, expires_at)
        return self._signed(principal, refresh_token, session.refresh_expires_at, now)

    def _signed(self, principal: Principal, refresh_token: str, refresh_expires_at: datetime, now: datetime) -> TokenPair:
        return TokenPair(
            issued_at=now,
            access_token=self._tokens.access_token(principal, int(now.timestamp())),
            access_expires_at=datetime.fromtimestamp(principal.expires_at, UTC),
            refresh_token=refresh_token,
            refresh_expires_at=refresh_expires_at,
            session_id=principal.session_id,
            principal=principal,
        )
