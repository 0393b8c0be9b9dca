"""Which of many closed ranges of whole numbers hold a given one, through plain indexes: a relational interval tree.

Each range stands at the one node of a binary tree over all numbers that is the highest inside it; all ranges that hold a number
stand at nodes on the path from the root to it. (Kriegel, Pötke, Seidl: Managing Intervals Efficiently in Object-Relational
Databases, VLDB 2000, with the tree's backbone fixed.)
"""

from datetime import UTC, datetime, timedelta
from typing import Final

POSITION_BITS: Final = 40
MOMENT_BITS: Final = 60
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def node(first: int, last: int) -> int:
    """Where the closed range from `first` to `last`, both at least 1, stands."""
    height = (first ^ last).bit_length() - 1
    return first if height < 0 else (last >> height) << height


def path(number: int, bits: int = POSITION_BITS) -> list[int]:
    """Where the ranges stand that hold `number`, for ranges of numbers below 2 ** `bits`. Each node is named once."""
    return [((number >> height) | 1) << height for height in range(bits)]


def moment(at: datetime) -> int:
    """An instant as a number of this tree: microseconds, at least 1."""
    return (at - _BEGINNING) // _MICROSECOND + 1
