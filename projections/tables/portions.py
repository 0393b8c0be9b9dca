"""A batch in portions: the server ends a transaction whose client is silent for long, and preparing long texts takes long."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PORTION_CHARACTERS: Final = 65_536
"""Of text in one statement that words are found in: a tenth of a second to prepare at the very worst."""

PORTION_OCTETS: Final = 262_144
"""Of what is only sent."""


def portions(items: Iterable[T], characters_of: Callable[[T], int], most: int = PORTION_CHARACTERS) -> Iterator[list[T]]:
    """The items in order, in portions of about `most` characters, at least one item each."""
    portion: list[T] = []
    characters = 0
    for item in items:
        portion.append(item)
        characters += characters_of(item)
        if characters >= most:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion
