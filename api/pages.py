"""How every list says how to go on: `next_cursor` and `has_more` in the body, and the same as a Link header."""

from typing import Any
from urllib.parse import quote


def next_page(scope: Any, cursor: str | None, parameter: str = "cursor") -> tuple[tuple[bytes, bytes], ...]:
    """The Link header of a list's answer (RFC 8288): the same request with the cursor in `parameter`; none on the last page."""
    if cursor is None:
        return ()
    replaced = f"{parameter}=".encode()
    kept = [pair for pair in scope["query_string"].split(b"&") if pair and not pair.startswith(replaced)]
    query = b"&".join([*kept, replaced + quote(cursor, safe="").encode()])
    return ((b"link", b'<%s?%s>; rel="next"' % (scope["path"].encode(), query)),)
