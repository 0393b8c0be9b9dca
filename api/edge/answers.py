"""How answers are made: bytes with their headers, past Litestar's own serialising."""

from typing import Final

from litestar.types import Receive, Scope, Send

from api.edge.compression import LEAST_BYTES, negotiated
from application.receipts import Receipt

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class CompleteHeaders(list[tuple[bytes, bytes]]):
    """Headers among which are all that every answer carries: the edge need not look for them."""


class Answer:
    """An ASGI response that is already bytes: nothing of it is serialised, merged or copied again.

    `position` is the one that the answer was decided on, None where it was decided on nothing of the log.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, position: int | None, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.body = body
        self.status = status
        self.headers = CompleteHeaders(
            (
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                *SECURITY_HEADERS,
                *headers,
            )
        )
        if position is not None:
            self.headers.append((b"x-position", b"%d" % position))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it, compressed where it is worth it and the client can read that."""
        body: bytes = self.body
        headers: list[tuple[bytes, bytes]] = self.headers
        if len(body) >= LEAST_BYTES:
            body, headers = await negotiated(scope, body, headers)
            headers = CompleteHeaders(headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class Bare:
    """An ASGI response without a body."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.status = status
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Asset:
    """An ASGI response with bytes that stay the same as long as the process lives."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, media_type: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), status: int = 200
    ) -> None:
        self.body = body
        self.status = status
        self.headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it, compressed where it is worth it and the client can read that."""
        body, headers = self.body, self.headers
        if len(body) >= LEAST_BYTES:
            body, headers = await negotiated(scope, body, headers, is_lasting=True)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def receipt_answer(receipt: Receipt, collection: str) -> Answer:
    """A command's receipt: 201 with Location in the `collection` for a creation, else 200; the ETag is the stream's version."""
    headers = [(b"etag", b'"v%d"' % receipt.version)]
    status = 200
    if receipt.created:
        status = 201
        headers.append((b"location", f"/api/v1/{collection}/{receipt.stream_id}".encode()))
    if receipt.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Answer(receipt.body, receipt.position, status, tuple(headers))
