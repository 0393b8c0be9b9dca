"""Compressed answers: gzip and Brotli for bodies that are long enough, each form made once for bytes that come again.

Only answers that are made of ready bytes are compressed (`Answer`, `Asset`). Those with tokens are others, so that nothing
that somebody can put into an answer is ever compressed together with a secret (BREACH).
"""

import asyncio
import zlib
from collections import OrderedDict
from typing import Any, Final

import brotli

from api.edge.negotiation import best_coding

CODINGS: Final = ("br", "gzip")
LEAST_BYTES: Final = 1024
VARY: Final = (b"vary", b"accept-encoding")

_KEPT_AT_MOST: Final = 32_768
_QUICKLY_FROM: Final = 65_536
_ASIDE_FROM: Final = 131_072
_GZIP_WINDOW: Final = 31


class CompressedBodies:
    """The compressed forms of bodies that are asked for again and again, least recently used out first.

    One for each process. It holds at most `most_bytes`, the plain bodies by which the forms are found included.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._forms: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self.held_bytes = 0

    async def form(self, body: bytes, coding: str, *, is_lasting: bool = False) -> bytes:
        """The body in that coding; it is kept if it is short, or lasts as long as the process."""
        key = (coding, body)
        known = self._forms.get(key)
        if known is not None:
            self._forms.move_to_end(key)
            return known
        # Another request must not wait while a long body is compressed.
        made = await asyncio.to_thread(_compressed, body, coding) if len(body) >= _ASIDE_FROM else _compressed(body, coding)
        if (is_lasting or len(body) <= _KEPT_AT_MOST) and key not in self._forms:
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, bytes], made: bytes) -> None:
        self._forms[key] = made
        self.held_bytes += len(key[1]) + len(made)
        while self.held_bytes > self._most:
            (_, plain), form = self._forms.popitem(last=False)
            self.held_bytes -= len(plain) + len(form)


def _compressed(body: bytes, coding: str) -> bytes:
    quick = len(body) >= _QUICKLY_FROM
    if coding == "br":
        made: bytes = brotli.compress(body, quality=1 if quick else 4)
        return made
    compressor = zlib.compressobj(1 if quick else 6, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()


async def negotiated(
    scope: Any, body: bytes, headers: list[tuple[bytes, bytes]], *, is_lasting: bool = False
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Body and headers as they go out to a client whose Accept-Encoding the edge left in the scope's state.

    The entity tag of a compressed form names the form, for it is another representation (RFC 9110, 8.8.3.3).
    """
    headers = [*headers, VARY]
    accepted = scope["state"].get("accept_encoding")
    coding = best_coding(accepted, CODINGS) if accepted is not None else None
    if coding is None:
        return body, headers
    form = await scope["litestar_app"].state.compressed.form(body, coding, is_lasting=is_lasting)
    named: list[tuple[bytes, bytes]] = [(b"content-encoding", coding.encode())]
    for name, value in headers:
        if name == b"content-length":
            named.append((name, b"%d" % len(form)))
        elif name == b"etag":
            named.append((name, b'%s-%s"' % (value[:-1], coding.encode())))
        else:
            named.append((name, value))
    return form, named
