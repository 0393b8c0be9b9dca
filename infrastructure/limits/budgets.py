"""What is allowed to whom, how often: budgets, the profiles they come from, and what a request costs."""

import re
from collections.abc import Mapping
from math import ceil
from typing import Final

import msgspec

from infrastructure.settings import VARIABLES, ConfigurationError, Settings

MICRO: Final = 1_000_000
OFF: Final = "off"
_FORM: Final = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,6})(?:/([1-9]\d{0,8}))?", re.ASCII)
_DAYS_30: Final = 30 * 86_400 * MICRO

PROFILES: Final[Mapping[str, Mapping[str, str]]] = {
    "standard": {
        "sign_in": "5/900",
        "sign_in_address": "30/900",
        "anonymous": "100/900",
        "refresh": "300/900",
        "user": "600/60",
        "workspace": "3000/60",
        "address": "6000/60",
        "reports": "60/60",
    },
    "founding": {
        "sign_in": "5/900",
        "sign_in_address": "30/900",
        "anonymous": "100/900",
        "refresh": "100/900",
        "user": "1000/3600",
        "workspace": "5000/3600",
        "address": "10000/3600",
        "reports": "100/3600",
    },
    OFF: {},
}
"""Budgets by name as `quota/seconds`, or `quota/seconds/burst`."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """`quota` points in `seconds`, and at most `burst` of them at once: GCRA, whose one number is when all are there again.

    In any stretch of t seconds at most `burst + t * quota / seconds` points are given. `interval` is one point's time in
    whole microseconds, rounded up, so that all arithmetic is exact and never gives one too many.
    """

    name: str
    quota: int
    seconds: int
    burst: int
    interval: int

    @property
    def policy(self) -> str:
        """For `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11)."""
        return f'"{self.name}";q={self.quota};w={self.seconds}'

    def share(self, processes: int) -> "Budget":
        """What one of so many processes may give by itself; all of them together never more than the whole.

        Its burst may be 0: then nothing can be given without asking the others.
        """
        return msgspec.structs.replace(self, burst=self.burst // processes, interval=self.interval * processes)


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of one deployment; None is no limit. Costs are in points."""

    sign_in: Budget | None = None
    sign_in_address: Budget | None = None
    anonymous: Budget | None = None
    refresh: Budget | None = None
    user: Budget | None = None
    workspace: Budget | None = None
    address: Budget | None = None
    reports: Budget | None = None
    read_cost: int = 1
    write_cost: int = 2
    items_per_point: int = 4

    def batch_cost(self, items: int) -> int:
        """What a batch costs: at least a write, at most what can be there at once."""
        return max(self.write_cost, ceil(items / self.items_per_point))


def budget(name: str, text: str) -> Budget | None:
    """Read `quota/seconds[/burst]` or `off`. Raises ValueError saying what is wrong with it."""
    if text == OFF:
        return None
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("it is `quota/seconds`, `quota/seconds/burst` or `off`, such as 600/60")
    quota, seconds = int(form[1]), int(form[2])
    burst = int(form[3]) if form[3] else quota
    interval = ceil(seconds * MICRO / quota)
    if quota > seconds * MICRO:
        raise ValueError("at most a million a second can be counted")
    if burst * interval > _DAYS_30:
        raise ValueError("the burst takes longer than 30 days to come back")
    return Budget(name=name.replace("_", "-"), quota=quota, seconds=seconds, burst=burst, interval=interval)


def budgets_of(settings: Settings) -> Budgets:
    """The budgets as configured. Raises ConfigurationError naming the variable."""
    profile, chosen = PROFILES[settings.limits], dict[str, Budget | None]()
    for name in PROFILES["standard"]:
        text = getattr(settings, f"limit_{name}") or profile.get(name, OFF)
        try:
            chosen[name] = budget(name, text)
        except ValueError as error:
            raise ConfigurationError(f"{VARIABLES[f'limit_{name}']}: {error}") from None
    costs = Budgets(write_cost=settings.limit_write_cost, items_per_point=settings.limit_batch_items)
    return msgspec.structs.replace(costs, **chosen)


def processes_of(settings: Settings) -> int:
    """How many API processes share the budgets, over all hosts."""
    return settings.limit_processes or settings.api_processes
