"""When a row happened: reading the times of a ticket history strictly, and its rows in the order in which they happened.

A wall time may have existed twice, or never, where clocks are changed. One that existed twice has two readings, and the
order of the file decides between them; one that never was is refused.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from application.importing.text import shown

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier times are taken for mistakes: one wrong century would stretch every report over it."""

LEEWAY: Final = timedelta(minutes=5)
"""How far an exporting machine's clock may be ahead of this one's."""

DIRECTIVES: Final = "%Y %m %b %B %d %j %a %A %H %I %p %M %S %f %z %%"

Readings = tuple[datetime, datetime]
"""The earlier and the later moment that a time may mean, in UTC; nearly always the same."""


class _Dated(Protocol):
    @property
    def case(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def other(self) -> datetime | None: ...


Row = TypeVar("Row", bound=_Dated)


def time_zone(name: str) -> tzinfo:
    """The IANA zone of this name; raises ValueError."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f"there is no time zone {shown(name)}; zones are named as in Europe/Rome, America/New_York or UTC"
        ) from None


def check_format(form: str) -> None:
    """Refuse with ValueError what strptime would take and then ignore, guess or leave open."""
    if form == "iso":
        return
    directives = re.findall("%(.?)", form, re.DOTALL)
    given = [each for each in directives if each != "%"]
    for each in given:
        if f"%{each}" not in DIRECTIVES.split() or not each:
            why = {
                "y": "a year of two digits may be of any century",
                "Z": "a zone's name has no sure meaning, name it in time.timezone",
            }
            raise ValueError(
                f"%{shown(each)[1:-1]} cannot be honoured ({why.get(each, 'unknown')}); the directives are {DIRECTIVES}"
            )
        if given.count(each) > 1:
            raise ValueError(f"%{each} stands twice in the format")
    present = set(given)
    month = present & set("mbB")
    if "Y" not in present:
        raise ValueError("the format has no year (%Y)")
    if "j" in present and (month or "d" in present):
        raise ValueError("the format has both a day of the year (%j) and a month or a day of the month")
    if "j" not in present and not (month and "d" in present):
        raise ValueError("the format has no month (%m, %b or %B) with a day (%d), and no day of the year (%j)")
    if len(month) > 1 or {"a", "A"} <= present or {"H", "I"} <= present:
        raise ValueError("the format has one part of the time in two ways")
    if ("I" in present) != ("p" in present):
        raise ValueError("an hour of twelve (%I) needs the half of the day (%p), and %p needs %I")
    parts = [bool(present & set("HI")), "M" in present, "S" in present, "f" in present]
    if parts != sorted(parts, reverse=True):
        raise ValueError("the format has a smaller part of the time of day without the larger one before it")


def time_reader(form: str, zone: tzinfo) -> Callable[[str], Readings]:
    """Reads a text in the given (checked) format, in `zone` where it names none; raises ValueError with the reason."""
    weekday = "%a" in form or "%A" in form

    def read(text: str) -> Readings:
        try:
            at = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)
            if not text.isascii() and any(c.isdecimal() and not c.isascii() for c in text):
                raise ValueError
            if weekday and at.strftime("%a").casefold() not in text.casefold():
                raise ValueError
            return _in_utc(at, zone)
        except OverflowError:
            raise ValueError(f"{shown(text)} is outside the calendar") from None
        except _NeverWas:
            raise ValueError(f"{shown(text)} never was: the clocks of {zone} were put forward over it") from None
        except ValueError:
            raise ValueError(f"{shown(text)} is not a time as the mapping describes it") from None

    return read


class _NeverWas(ValueError):
    """No clock of the zone ever showed the time."""


def _in_utc(at: datetime, zone: tzinfo) -> Readings:
    if at.tzinfo is not None or zone is UTC:
        utc = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        return utc, utc
    first, second = at.replace(tzinfo=zone, fold=0), at.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before == after:
        utc = first.astimezone(UTC)
        return utc, utc
    if before is None or after is None or before < after:
        raise _NeverWas
    return first.astimezone(UTC), second.astimezone(UTC)


def in_order_of_time(rows: Sequence[Row]) -> list[Row]:
    """The rows as they happened; those of one moment as the file orders them.

    `other` of a row is the later reading of a time that existed twice: it is taken where the first would be before the row that
    the file has before it, of the same ticket or, in a file that is ordered by time as a whole, of any. A file whose tickets
    run from the newest row to the oldest is read from its end.
    """
    ordered = list(rows)
    if _runs_backwards(ordered):
        ordered.reverse()
    if any(row.other is not None for row in ordered):
        whole = _is_ordered_as_a_whole(ordered)
        newest: dict[str, datetime] = {}
        for index, row in enumerate(ordered):
            key = "" if whole else row.case
            before, second = newest.get(key), row.other
            if second is not None and before is not None and row.at < before <= second:
                ordered[index] = replace(row, at=second, other=row.at)  # type: ignore[type-var]  # rows are structs
            newest[key] = ordered[index].at
    ordered.sort(key=lambda row: row.at)
    return ordered


def _runs_backwards(rows: Sequence[Row]) -> bool:
    """By the rows of each ticket; where no ticket tells, by all of them, unless the file goes ticket by ticket."""
    steps = _direction(rows, by_case=True)
    if not steps and not _goes_ticket_by_ticket(rows):
        steps = _direction(rows, by_case=False)
    return steps < 0


def _direction(rows: Sequence[Row], by_case: bool) -> int:
    """More than 0 where later rows are later, less where they are earlier, whichever reading is meant."""
    newest: dict[str, Row] = {}
    steps = 0
    for row in rows:
        key = row.case if by_case else ""
        before = newest.get(key)
        if before is not None:
            steps += (row.at > (before.other or before.at)) - ((row.other or row.at) < before.at)
        newest[key] = row
    return steps


def _is_ordered_as_a_whole(rows: Sequence[Row]) -> bool:
    certain = [row.at for row in rows if row.other is None]
    if any(one > next_one for one, next_one in pairwise(certain)):
        return False
    return not _goes_ticket_by_ticket(rows)


def _goes_ticket_by_ticket(rows: Sequence[Row]) -> bool:
    """Then the row before another ticket's says nothing about it."""
    runs = sum(one.case != next_one.case for one, next_one in pairwise(rows)) + 1
    cases = len({row.case for row in rows})
    return runs <= cases < len(rows)
