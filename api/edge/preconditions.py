"""Entity tags: how a task's version is written as one, and how conditions on them are read (RFC 9110, 8.8.3 and 13.1)."""

import re
from typing import Final

from api.edge.errors import BadRequest

_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
_VERSION: Final = re.compile(r"v([1-9][0-9]{0,17})(?:-(?:gzip|br))?").fullmatch
_MOST_TAGS: Final = 100


def etag(version: int) -> bytes:
    """The entity tag of a task's version."""
    return b'"v%d"' % version


def matched_versions(if_match: str) -> tuple[int, ...] | None:
    """The versions that an If-Match header names; None for the star, which any version matches.

    The comparison is the strong one (RFC 9110, 13.1.1): weak tags, and tags that are none of ours, match nothing, so that the
    versions may be none at all. The tag of a compressed answer names the same version. Raises BadRequest for what is no list
    of entity tags.
    """
    if if_match.strip() == "*":
        return None
    return tuple(int(version[1]) for weak, opaque in _tags(if_match) if not weak and (version := _VERSION(opaque)) is not None)


def _tags(header: str) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    at, length = 0, len(header)
    while at < length and len(found) <= _MOST_TAGS:
        tag = _TAG.match(header, at)
        if tag is None:
            if header[at:].strip(" \t").startswith(",") or not header[at:].strip():
                # Empty elements of a list are allowed (RFC 9110, 5.6.1.2).
                at = header.find(",", at) + 1 or length
                continue
            break
        found.append((tag[1] is not None, tag[2]))
        at = tag.end()
        if at < length and header[at] != ",":
            break
        at += 1
    if at < length or not found or len(found) > _MOST_TAGS:
        detail = f'If-Match takes * or up to {_MOST_TAGS} entity tags as ETag gave them, such as "v3"'
        raise BadRequest(400, "invalid_if_match", detail, "If-Match")
    return found


def matching_tag(if_none_match: str | None, etag: str) -> str | None:
    """The form of the entity tag that If-None-Match names, None where it names none: then the answer is not 304.

    It takes one or several tags, weak or strong, or the star (RFC 9110, 13.1.2); the tag of a compressed form is as good.
    """
    if if_none_match is None or if_none_match == etag:
        return if_none_match
    if if_none_match.strip() == "*":
        return etag
    forms = (etag, f'{etag[:-1]}-gzip"', f'{etag[:-1]}-br"')
    named = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return next((tag for tag in named if tag in forms), None)
