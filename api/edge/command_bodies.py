"""Bodies of commands: what every body has to be, and what only a decoded value no longer shows."""

import json
import re
from typing import Any, Final, TypeVar

from api.edge.body import decode_json
from api.edge.errors import BadRequest

T = TypeVar("T")

_MANY_DIGITS: Final = re.compile(rb"\.\d{7}").search
FINER_THAN_A_MICROSECOND: Final = re.compile(r"\.\d{6}0*[1-9]").search
"""Finds in the text of a moment what decoding would round away."""


def decode_command(body: bytes, type_: type[T]) -> T:
    """Decode strictly, as `decode_json`; raises BadRequest, also for a moment finer than can be stored.

    Decoding rounds to the nearest microsecond, which moves the last moment of a day to the next day.
    """
    decoded = decode_json(body, type_)
    if _MANY_DIGITS(body) or b"\\u" in body:
        _require_microseconds(json.loads(body))
    return decoded


def _require_microseconds(value: Any, pointer: str = "") -> None:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        place = f"{pointer}/{name}"
        if name == "due_at" and isinstance(member, str) and FINER_THAN_A_MICROSECOND(member):
            raise BadRequest(400, "invalid_body", "a moment has at most six digits after the second's point", place)
        _require_microseconds(member, place)
