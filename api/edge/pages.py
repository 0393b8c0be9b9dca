"""What all lists have in common: one shape, a bound in bytes as well as in items, and where they go on."""

from typing import Any, Final
from urllib.parse import quote

from api.edge.cursors import place_of
from api.edge.requests import AnyRequest, header, integer, log_of, one, resources, wait_of
from infrastructure.read_models.task_reads import Wait
from projections.tables.bounds import Room

BOUNDED: Final = (
    "An answer is bounded in bytes as well as in items: as long as `has_more` is true, `next_cursor` leads on, however few the "
    "items are."
)
LINK: Final = {"Link": '`<…>; rel="next"` (RFC 8288): the next page, where there is one.'}

Headers = tuple[tuple[bytes, bytes], ...]
Query = dict[str, list[str]]


def room_of(request: AnyRequest, query: Query, default: int, most: int) -> Room:
    """How many items, by `limit`, and how many bytes an answer may hold."""
    return Room(integer(query, "limit", default, 1, most), resources(request).settings.max_answer_bytes)


def page_body(items: bytes, cursor: str | None, more: bool) -> bytes:
    """A list as it is sent; `items` is a JSON array, `cursor` needs no escaping."""
    following = b"null" if cursor is None else b'"%s"' % cursor.encode()
    return b'{"items":%s,"next_cursor":%s,"has_more":%s}' % (items, following, b"true" if more else b"false")


def next_page(scope: Any, cursor: str | None, parameter: str = "cursor") -> Headers:
    """The Link header of a list's answer (RFC 8288): the same request with the cursor in `parameter`; none on the last page."""
    if cursor is None:
        return ()
    replaced = f"{parameter}=".encode()
    kept = [pair for pair in scope["query_string"].split(b"&") if pair and not pair.startswith(replaced)]
    query = b"&".join([*kept, replaced + quote(cursor, safe="").encode()])
    return ((b"link", b'<%s?%s>; rel="next"' % (scope["path"].encode(), query)),)


async def freshness(request: AnyRequest, query: Query) -> Wait:
    """How fresh the answer must be: see `wait_of`. A `min_position` with the digits of its event is held against the log
    first."""
    text = one(query, "min_position")
    if text is None:
        return wait_of(request, query)
    if "." in text:
        place = place_of(text, "min_position")
        await log_of(request).store.require_place(place, "min_position")
        query = {**query, "min_position": [str(place.position)]}
    return wait_of(request, query)


def preferred_wait(request: AnyRequest, most: float) -> float:
    """The seconds of `Prefer: wait=…` (RFC 7240, 4.3), at most so many; 0 without it."""
    for preference in (header(request, b"prefer") or "").replace(" ", "").lower().split(","):
        name, _, value = preference.partition("=")
        if name == "wait" and value.isascii() and value.isdigit() and len(value) < 6:
            return min(most, float(value))
    return 0.0
