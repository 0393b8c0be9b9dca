"""The values a project is made of, their bounds, and the one place that says which of them are accepted."""

import re
from functools import lru_cache
from typing import Annotated, Final
from uuid import RFC_4122, UUID, uuid5

from msgspec import Meta

from domain.errors import InvalidValue
from domain.text import line

NAME_MAX_CHARACTERS: Final = 255
KEY_PATTERN: Final = "^[A-Z][A-Z0-9]{1,9}$"

# A client has to send it right: lower case is refused and not mended, since a key is quoted in other systems.
Key = Annotated[str, Meta(pattern=KEY_PATTERN)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_CHARACTERS)]

FIRST_KEY: Final = "TASKS"
FIRST_NAME: Final = "Tasks"

is_key: Final = re.compile(KEY_PATTERN.removesuffix("$")).fullmatch
"""Finds a key: 2 to 10 of A-Z and 0-9, a letter first."""

_UUID_VERSIONS = range(1, 9)


@lru_cache(maxsize=10_000)
def first_project_of(workspace_id: UUID) -> UUID:
    """The stream of a workspace's first project, known without looking: a task that names no project belongs to it."""
    return uuid5(workspace_id, "first project")


def accepted_key(key: str) -> str:
    """The key, if it is one."""
    if not is_key(key):
        raise InvalidValue("key_invalid", "A key has 2 to 10 characters of A-Z and 0-9, the first of them a letter.", "key")
    return key


def accepted_name(name: str) -> str:
    """The name without surrounding whitespace."""
    return line(name, "name", NAME_MAX_CHARACTERS)


def accepted_project_id(project_id: UUID) -> UUID:
    """An id that a client chose, if it is one that a client can have made: a UUID of RFC 9562, neither nil nor max."""
    if project_id.variant != RFC_4122 or project_id.version not in _UUID_VERSIONS:
        words = "A project's id is a UUID of a version from 1 to 8 (RFC 9562)."
        raise InvalidValue("project_id_invalid", words, "project_id")
    return project_id


ADDRESS_PATTERN: Final = f"{KEY_PATTERN[:-1]}-[1-9][0-9]{{0,17}}$"
Address = Annotated[str, Meta(pattern=ADDRESS_PATTERN)]
"""Of a task: its project's key and its number there, such as `PRJ-123`."""

_is_address: Final = re.compile(ADDRESS_PATTERN.removesuffix("$"), re.ASCII).fullmatch


def address_of(text: str) -> tuple[str, int] | None:
    """The key and the number in an address such as `PRJ-123`; None for anything else."""
    if _is_address(text) is None:
        return None
    key, number = text.split("-")
    return key, int(number)
