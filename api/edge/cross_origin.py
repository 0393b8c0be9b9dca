"""Which other sites' pages may use the API in a browser (CORS, as the Fetch standard has it): those of an allow-list."""

from collections.abc import Iterable
from typing import Final

from api.edge.exchange import Exchange

ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Prefer",
    "X-Correlation-Id",
    "X-Request-Id",
)
EXPOSED_HEADERS: Final = (
    "Accept-Patch",
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Position",
    "X-Request-Id",
)
PREFLIGHT_SECONDS: Final = 600


class CrossOrigin:
    """The allow-list: exact origins, such as `https://app.example.org`. An empty one changes nothing on any answer."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._allowed = frozenset(origin.encode() for origin in origins)
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())

    def mark(self, exchange: Exchange) -> bool:
        """Tell the browser what a page of the request's origin may see; whether the request is its preflight.

        A preflight carries no token and is answered without one, but only to an origin of the list.
        """
        if not self._allowed:
            return False
        exchange.answer_headers.append((b"vary", b"origin"))
        origin = exchange.headers.get(b"origin", b"")
        if origin not in self._allowed:
            return False
        exchange.answer_headers += (
            (b"access-control-allow-origin", origin),
            # The refresh cookie is for pages of the same site only, whichever origin of it.
            (b"access-control-allow-credentials", b"true"),
        )
        if exchange.method == "OPTIONS" and b"access-control-request-method" in exchange.headers:
            return True
        exchange.answer_headers.append(self._exposed)
        return False


def preflight_headers(allow: str) -> tuple[tuple[bytes, bytes], ...]:
    """What a page may ask for at a place that has the methods of `allow`."""
    return (
        (b"access-control-allow-methods", allow.encode()),
        (b"access-control-allow-headers", ", ".join(ALLOWED_HEADERS).encode()),
        (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
    )
