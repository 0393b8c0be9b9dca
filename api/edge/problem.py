"""The problem document (RFC 9457) that every refusal is."""

from typing import Final

import msgspec

PROBLEM_JSON: Final = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one part of the request: a JSON pointer into the body or a parameter's name, and why."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal (RFC 9457). `code` is stable and meant for programs, `detail` is a sentence for people, `request_id` finds the
    request in the log (`X-Request-Id`)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    request_id: str | None = None
