"""A request's headers as one value a name: what may stand several times is joined, what may not is refused.

Two parties that look at different ones of two Authorization headers (a proxy at the first, we at the last) would not speak of
the same request; so nothing behind the edge ever sees a name twice.
"""

from typing import Final

Headers = list[tuple[bytes, bytes]]

# Lists by their definition: several fields are the same as one with commas between (RFC 9110, 5.3).
_LISTS: Final = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"forwarded",
        b"if-match",
        b"if-none-match",
        b"pragma",
        b"prefer",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"via",
        b"x-forwarded-for",
    }
)
# What is read here, and means one thing.
_SINGLE: Final = frozenset(
    {
        b"access-control-request-method",
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"origin",
        b"x-correlation-id",
        b"x-request-id",
    }
)


def joined(headers: Headers) -> tuple[Headers, str | None]:
    """The headers with each name once, and the name of one that stands twice and may not. Others keep their last value."""
    found: dict[bytes, bytes] = {}
    repeated = None
    for name, value in headers:
        if name in found and name in _LISTS:
            found[name] += b", " + value
        elif name in found and name == b"cookie":
            # HTTP/2 lets a client cut it into several (RFC 9113, 8.2.3).
            found[name] += b"; " + value
        else:
            if name in found and name in _SINGLE:
                repeated = name.decode("latin-1")
            found[name] = value
    return list(found.items()), repeated
