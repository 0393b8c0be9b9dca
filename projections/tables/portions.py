"""A batch in portions: the server ends a transaction whose client is silent for long, and preparing long texts takes long."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PORTION_CHARACTERS: Final = 65_536
"""Of text in one statement: a tenth of a second to prepare at the very worst. Batches of usual tasks are one portion."""


def portions(items: Iterable[T], characters_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in order, in portions of about PORTION_CHARACTERS, at least one item each."""
    portion: list[T] = []
    characters = 0
    for item in items:
        portion.append(item)
        characters += characters_of(item)
        if characters >= PORTION_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion
