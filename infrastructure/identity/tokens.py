"""Tokens: signed access tokens (JWT, after RFC 9068), opaque refresh tokens, the cache of verified ones."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

import jwt
import msgspec

from application.principal import Principal, Role

ISSUER = "taskmaster"
AUDIENCE = "taskmaster-api"
TYPE = "at+jwt"
ALGORITHM = "HS256"
KEY_MIN = 32
TOKEN_MAX = 2048
LEEWAY_SECONDS = 30
"""How far the clock of a process that verifies may be behind that of the one that signed."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class InvalidToken(Exception):
    """An access token that is not good. `code` is `invalid_token`, `token_expired` or `session_revoked`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    iss: Literal["taskmaster"]
    aud: Literal["taskmaster-api"]
    sub: UUID
    sid: UUID
    ws: UUID
    log: str
    role: Role
    iat: int
    exp: int
    jti: str


# PyJWT checks the signature, this the claims: strict about types, where json.loads takes even UTF-16.
_CLAIMS = msgspec.json.Decoder(_Claims)


class KeyRing:
    """The signing key and the one before it, still accepted. A key's id is 8 hex digits of its SHA-256."""

    def __init__(self, current: str, previous: str = "") -> None:
        keys = [key for key in (current, previous) if key]
        if not current or any(len(key) < KEY_MIN for key in keys):
            raise ValueError(f"a secret key has at least {KEY_MIN} characters")
        self.current_id = self._key_id(current)
        self._keys = {self._key_id(key): key.encode() for key in reversed(keys)}

    @staticmethod
    def _key_id(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[:8]

    @property
    def current(self) -> bytes:
        """The key that signs."""
        return self._keys[self.current_id]

    def find(self, key_id: object) -> bytes | None:
        """The key of that id, if it is on the ring."""
        return self._keys.get(key_id) if isinstance(key_id, str) else None


class TokenIssuer:
    """Makes access and refresh tokens."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def access_token(self, principal: Principal, issued_at: int) -> str:
        """A token that carries the principal until `principal.expires_at` (both in epoch seconds)."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(principal.principal_id),
            "sid": str(principal.session_id),
            "ws": str(principal.workspace_id),
            "log": principal.log,
            "role": principal.role,
            "iat": issued_at,
            "exp": principal.expires_at,
            "jti": secrets.token_hex(8),
        }
        headers = {"typ": TYPE, "kid": self._keys.current_id}
        return jwt.encode(claims, self._keys.current, ALGORITHM, headers)

    def refresh_token(self) -> tuple[str, bytes]:
        """32 random bytes as base64url, and the SHA-256 under which they are stored."""
        token = secrets.token_urlsafe(32)
        return token, self.refresh_token_hash(token)

    def refresh_token_hash(self, token: str) -> bytes:
        """SHA-256; plain, because the token is random enough not to be guessed."""
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class TokenVerifier:
    """Turns access tokens into principals; one for each process.

    A token's signature is checked once (about 70 µs); from then on `verify` is a dictionary look-up (0.4 µs),
    until the token expires or its session is revoked. At most `capacity` tokens are remembered, in two
    generations: when the young one is full it becomes the old one, and the old one is dropped at no cost.
    """

    def __init__(self, keys: KeyRing, capacity: int = 50_000) -> None:
        self._keys = keys
        self._generation_size = max(1, capacity // 2)
        self._young: dict[str, Principal] = {}
        self._old: dict[str, Principal] = {}
        self._revoked: set[UUID] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def verify(self, token: str, now: float) -> Principal:
        """The token's principal at `now` (epoch seconds). Raises `InvalidToken`."""
        principal = self._young.get(token) or self._recall(token, now)
        if principal.expires_at <= now:
            self._young.pop(token, None)
            raise InvalidToken("token_expired")
        if principal.session_id in self._revoked:
            raise InvalidToken("session_revoked")
        return principal

    def revoke(self, session_ids: Iterable[UUID]) -> None:
        """Refuse every token of these sessions from now on."""
        self._revoked.update(session_ids)

    def forget_revoked(self, session_ids: Iterable[UUID]) -> None:
        """Stop remembering sessions whose last access token has expired."""
        self._revoked.difference_update(session_ids)

    def _recall(self, token: str, now: float) -> Principal:
        principal = self._old.get(token) or self._checked(token, now)
        if len(self._young) >= self._generation_size:
            self._old, self._young = self._young, {}
        self._young[token] = principal
        return principal

    def _checked(self, token: str, now: float) -> Principal:
        """Check everything; nothing unverified leaves this function. Times go by the caller's clock."""
        # PyJWT would accept a padded signature: a second spelling of the same token.
        if len(token) > TOKEN_MAX or not _COMPACT.fullmatch(token):
            raise InvalidToken("invalid_token")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(header.get("kid"))
            if key is None or header != {"alg": ALGORITHM, "typ": TYPE, "kid": header["kid"]}:
                raise InvalidToken("invalid_token")
            decoded = jwt.PyJWS().decode_complete(token, key, [ALGORITHM])
            claims = _CLAIMS.decode(decoded["payload"])
        except (jwt.InvalidTokenError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidToken("invalid_token") from error
        if claims.iat > now + LEEWAY_SECONDS or claims.exp <= claims.iat:
            raise InvalidToken("invalid_token")
        if claims.exp <= now:
            raise InvalidToken("token_expired")
        return Principal(claims.sub, claims.sid, claims.ws, claims.log, claims.role, claims.exp)
