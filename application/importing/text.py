"""Text from a stranger's file, shown to a person: nothing raw, nothing long."""

from typing import Final

MOST_SHOWN: Final = 60
MOST_ON_A_LINE: Final = 600


def shown(text: str) -> str:
    """The text in quotes, its beginning only where it is long, with whatever a terminal would obey escaped."""
    return f"{text[:MOST_SHOWN]!r}{'…' if len(text) > MOST_SHOWN else ''}"


def printable(text: str) -> str:
    """The text as one bounded line without control, direction or other invisible characters."""
    bounded = text if len(text) <= MOST_ON_A_LINE else f"{text[:MOST_ON_A_LINE]}…"
    return bounded if bounded.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in bounded)
