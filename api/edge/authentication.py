"""Who asks: from the Authorization header to a principal."""

import time
from collections.abc import Mapping
from typing import Any, Final

from application.principal import Principal
from domain.errors import NotAuthenticated
from infrastructure.bootstrap import Resources
from infrastructure.identity.tokens import InvalidToken

_SENTENCES: Final = {
    "missing_token": "an access token is required: Authorization: Bearer …",
    "token_expired": "the access token has expired; refresh it",
    "session_revoked": "the session was revoked; log in again",
}


def bearer_token(headers: Mapping[bytes, bytes]) -> str:
    """The token of the Authorization header; raises NotAuthenticated where there is none."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise _refused("missing_token")
    return token.decode("latin-1")


def verified(token: str, resources: Resources) -> Principal:
    """Who holds it. A token that was verified before costs a look-up."""
    try:
        return resources.verifier.verify(token, time.time())
    except InvalidToken as error:
        raise _refused(error.code) from None


_STALE_FROM: Final = "access_stale_from"
_LONG_SECONDS: Final = 0.25


def may_wait(scope: Any, long_seconds: float = _LONG_SECONDS) -> None:
    """Say that the request may now wait. If it takes `long_seconds`, `require_access_still` looks at its token again."""
    scope["state"][_STALE_FROM] = time.monotonic() + long_seconds


async def require_access_still(scope: Any) -> None:
    """After a wait: whose access ended meanwhile gets and does nothing more. Raises NotAuthenticated or Unavailable."""
    stale_from = scope["state"].pop(_STALE_FROM, None)
    if stale_from is None or time.monotonic() < stale_from or scope.get("user") is None:
        return
    resources: Resources = scope["litestar_app"].state.resources
    if not resources.revocations.is_fresh:
        await resources.revocations.fresh()
    verified(bearer_token(dict(scope["headers"])), resources)


def _refused(code: str) -> NotAuthenticated:
    return NotAuthenticated(code, _SENTENCES.get(code, "the access token is not valid"))
