"""Cursors: opaque ones of a page's end, signed and bound to workspace and query; and places in the log that clients keep."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from api.edge.errors import BadRequest
from infrastructure.log.places import DIGITS, Place
from infrastructure.settings import Settings
from projections.tables.pages import ListCursor

MAC_BYTES = 16


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    # A moment, a rank or a key: signed, so it is what this process once put in.
    value: Any
    created_position: int


class CursorSigner:
    """Makes and reads cursors. A former secret key still reads."""

    def __init__(self, settings: Settings) -> None:
        secrets = [key for key in (settings.secret_key, settings.previous_secret_key) if key]
        self._keys = [sha256(b"cursor\x00" + key.encode()).digest() for key in secrets]

        # The first page of a list that nobody changes ends at the same place again and again.
        self.sign = lru_cache(maxsize=10_000)(self._sign)

    def _sign(self, workspace_id: UUID, query: bytes, cursor: ListCursor) -> str:
        """The cursor as text."""
        payload = msgspec.msgpack.encode(_Cursor(cursor.value, cursor.created_position))
        mac = _mac(self._keys[0], workspace_id, query, payload)
        return _text(mac + payload)

    def read(self, workspace_id: UUID, query: bytes, text: str) -> ListCursor:
        """The cursor that was signed for this workspace and query; raises BadRequest for any other."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
            # Decoding overlooks strange characters and spare bits: only the one spelling that was given out is a cursor.
            macs = [_mac(key, workspace_id, query, payload) for key in self._keys] if _text(raw) == text else []
            if any(hmac.compare_digest(mac, genuine) for genuine in macs):
                found = msgspec.msgpack.decode(payload, type=_Cursor)
                return ListCursor(found.value, found.created_position)
        except (UnicodeEncodeError, NotBase64, ValueError, msgspec.DecodeError):
            pass
        raise BadRequest(
            400,
            "invalid_cursor",
            "the cursor does not belong to this list; start from the first page",
            "cursor",
        )


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(key: bytes, workspace_id: UUID, query: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, workspace_id.bytes + sha256(query).digest() + payload, "sha256")[:MAC_BYTES]


PLACE_PATTERN: Final = rf"^[0-9]{{1,19}}(\.[0-9a-f]{{{DIGITS}}})?$"
_PLACE: Final = re.compile(PLACE_PATTERN.removesuffix("$") + r"\Z", re.ASCII)


def place_of(text: str, name: str, otherwise: str = "") -> Place:
    """The place in the log that a parameter names: a position, or a position with the digits of its event's hash."""
    if not _PLACE.match(text) or int(text.partition(".")[0]) >= 2**63:
        detail = f"{name} takes a position such as 1534, or a cursor such as 1534.fd5650b2{otherwise}"
        raise BadRequest(400, "invalid_parameter", detail, name)
    position, _, digits = text.partition(".")
    return Place(int(position), digits or None)
