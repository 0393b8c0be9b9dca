"""Reading request bodies: strict JSON into a struct, or a refusal that says what is wrong and where.

Stricter than JSON, because everything that is accepted must be storable by every read model, for ever: UTF-8 without lone
surrogates, no U+0000, no member twice, no integer beyond 64 bits, nothing that the struct does not know.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.types import Receive

from api.edge.authentication import may_wait, require_access_still
from api.edge.errors import BadRequest
from domain.text import unstorable
from infrastructure.settings import Settings

T = TypeVar("T")

LIMIT = 262_144
_TYPES: Final = {b"application/json": "application/json"}
_PATCH_TYPES: Final = _TYPES | {b"application/merge-patch+json": "application/merge-patch+json"}
ACCEPT_PATCH: Final = ", ".join(_PATCH_TYPES.values())
SHOWN_CHARACTERS = 200
_INT64 = 2**63


async def decode_body(request: Request[Any, Any, Any], type_: type[T], limit: int | None = None) -> T:
    """The JSON body as `type_`. Raises BadRequest 415 (Content-Type), 413 (longer than `limit` bytes) or 400."""
    return decode_json(await read_body(request, limit), type_)


async def read_body(request: Request[Any, Any, Any], limit: int | None = None, optional: bool = False) -> bytes:
    """The body's bytes, declared to be JSON and at most `limit` long; an `optional` one may be missing altogether.

    A PATCH may also be declared a JSON Merge Patch (RFC 7396), which is what it is. Raises BadRequest 415, 413, 408 (too
    slow) or 400, and NotAuthenticated where access ended while the body arrived.
    """
    declared, most = b"", LIMIT if limit is None else limit
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            declared = value.split(b";")[0].strip().lower()
        elif name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > most):
            raise _too_large(most)
    allowed = _PATCH_TYPES if request.scope["method"] == "PATCH" else _TYPES
    if declared not in allowed and (declared or not optional):
        raise _undeclared(allowed)
    settings: Settings = request.app.state.resources.settings
    may_wait(request.scope)
    body = await _receive(request.receive, most, settings.body_seconds, settings.body_idle_seconds)
    await require_access_still(request.scope)
    if body and not declared:
        raise _undeclared(allowed)
    return body


async def _receive(receive: Receive, most: int, seconds: float, idle_seconds: float) -> bytes:
    """The whole body, whatever the pieces that it comes in, in linear time."""
    chunks: list[bytes] = []
    length = 0
    clock = asyncio.get_running_loop().time
    last = clock() + seconds
    try:
        async with asyncio.timeout(min(seconds, idle_seconds)) as patience:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BadRequest(400, "incomplete_body", "the connection ended before the body did")
                chunks.append(message["body"])
                length += len(message["body"])
                if length > most:
                    raise _too_large(most)
                if not message["more_body"]:
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                patience.reschedule(min(last, clock() + idle_seconds))
    except TimeoutError:
        detail = f"a body has to arrive within {seconds:g} seconds, with no gap longer than {idle_seconds:g}"
        raise BadRequest(408, "body_too_slow", detail, headers={"Connection": "close"}) from None


def _undeclared(allowed: Mapping[bytes, str]) -> BadRequest:
    detail = f"the body must be {' or '.join(allowed.values())}"
    # What a PATCH may be written in, said wherever it was not (RFC 5789, 2.2).
    headers = {"Accept-Patch": ACCEPT_PATCH} if allowed is _PATCH_TYPES else {}
    return BadRequest(415, "unsupported_media_type", detail, headers=headers)


def _too_large(most: int) -> BadRequest:
    return BadRequest(413, "body_too_large", f"the body may be at most {most} bytes long")


def decode_json(body: bytes, type_: type[T]) -> T:
    """Decode strictly; raises BadRequest.

    Nesting needs no limit of its own: every struct refuses what it does not know, so nothing is read deeper than the type.
    """
    try:
        decoded = msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except RecursionError:
        raise BadRequest(400, "too_deep", "the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(400, "malformed_json", f"the body is not valid JSON: {error}") from None
    _require_plain(body)
    if _BARE_UUID(body):
        _require_hyphens(json.loads(body), msgspec.to_builtins(decoded))
    return decoded


_PLACE = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`", re.DOTALL)


def _invalid(error: msgspec.ValidationError) -> BadRequest:
    place = _PLACE.fullmatch(str(error))
    reason, path = place.groups() if place else (str(error), "")
    pointer = path.replace("[...]", "/-").replace("[", "/").replace("]", "").replace(".", "/")
    if named := _NAMED.fullmatch(reason):
        pointer += _token(named[1])
    return BadRequest(400, "invalid_body", _shown(reason), _shown(pointer))


def _token(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _shown(text: str) -> str:
    # What the client sent is repeated only in part, and as text that can be sent back.
    return text[:SHOWN_CHARACTERS].encode("utf-8", "replace").decode()


class _Members(list[tuple[str, Any]]):
    """An object as it is written, with members that stand twice."""


class _NotPlainError(Exception):
    """Somewhere in the body is something that decoding into a struct does not see."""


# Without escapes no string holds a quote: then this finds the names of members, and nothing else.
_NAMES: Final = re.compile(rb'"(\w+)":').findall
_LONG_NUMBER: Final = re.compile(rb"\d{19}").search


def _require_plain(body: bytes) -> None:
    """What decoding into a struct does not see: members that stand twice, too large numbers, characters that cannot be stored.

    Most bodies are simple enough to be told at a glance; what is not is parsed again.
    """
    if b"\\" not in body and not _LONG_NUMBER(body):
        names = _NAMES(body)
        if len(set(names)) == len(names) == body.count(b'":'):
            return
    try:
        _CHECK.decode(body.decode())
    except _NotPlainError:
        _require_single(json.loads(body, object_pairs_hook=_Members))
    if b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body:
        _require_storable(json.loads(body))


# What decoding takes for a UUID as well.
_BARE_UUID: Final = re.compile(rb'"[0-9a-fA-F]{32}"').search


def _require_hyphens(sent: Any, decoded: Any, pointer: str = "") -> None:
    """Find a UUID that was sent without its hyphens: in `decoded` it has them, where a text that looks like one has none."""
    if isinstance(sent, str):
        if isinstance(decoded, str) and sent.lower() == decoded.replace("-", "") != decoded:
            raise BadRequest(400, "invalid_body", "Invalid UUID", pointer)
    elif isinstance(sent, dict) and isinstance(decoded, dict):
        for name in sent.keys() & decoded.keys():
            _require_hyphens(sent[name], decoded[name], pointer + _token(name))
    elif isinstance(sent, list) and isinstance(decoded, list | tuple):
        for index, (one, other) in enumerate(zip(sent, decoded, strict=False)):
            _require_hyphens(one, other, f"{pointer}/{index}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotPlainError
    return found


def _int64(text: str) -> int:
    number = int(text) if len(text) < 21 else _INT64
    if not -_INT64 <= number < _INT64:
        raise BadRequest(400, "number_out_of_range", "an integer does not fit into 64 bits")
    return number


_CHECK: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=_int64)


def _require_single(value: Any, pointer: str = "") -> None:
    members = value if isinstance(value, _Members) else enumerate(value) if isinstance(value, list) else ()
    seen: set[object] = set()
    for name, member in members:
        place = f"{pointer}{_token(str(name))}"
        if name in seen:
            raise BadRequest(400, "repeated_member", f"the member {name!r} stands more than once", place)
        seen.add(name)
        _require_single(member, place)


def _require_storable(value: Any, pointer: str = "") -> None:
    if isinstance(value, str):
        if found := unstorable(value):
            raise BadRequest(400, "text_not_storable", f"text may not contain {found}", pointer)
    elif isinstance(value, dict):
        for name, member in value.items():
            _require_storable(member, pointer + _token(name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _require_storable(member, f"{pointer}/{index}")
