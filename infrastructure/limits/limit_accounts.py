"""Who is charged: the budgets that apply to somebody, with the points of them that this process was lent."""

import asyncio
from collections.abc import Sequence
from math import ceil
from typing import Final

import msgspec

from infrastructure.limits.budgets import Budget
from infrastructure.limits.leases import Lease
from infrastructure.limits.redis_budgets import LEND_SECONDS, Asked, Decision

PAUSE_SECONDS: Final = 2 * LEND_SECONDS
"""Whoever asked for nothing for so long is not lent anything at first."""


class Charge(msgspec.Struct, frozen=True):
    """A budget that applies to a request, and whose it is."""

    budget: Budget
    owner: str

    @property
    def key(self) -> str:
        """Name of the budget and its owner."""
        return f"{self.budget.name}:{self.owner}"


class Refused(Exception):
    """Over a limit: of which budget, and in how many whole seconds it is worth asking again."""

    def __init__(self, budget: Budget, retry_after: int) -> None:
        super().__init__(f"the limit {budget.name!r} is {budget.quota} in {budget.seconds} s")
        self.budget = budget
        self.retry_after = retry_after


class Account:
    """What one set of budgets has in this process: points lent, a refusal that still holds, and who waits for more.

    The purse holds points of every budget at once, all good until `_good_until`: who is served out of it looks at nothing
    else.
    """

    __slots__ = (
        "_filled",
        "_good_until",
        "_low",
        "_purse",
        "_rest",
        "_said",
        "asked",
        "busy_since",
        "extended_at",
        "given",
        "leases",
        "lendable",
        "most",
        "need",
        "ready",
        "refused_cost",
        "refused_until",
        "refusing",
        "running",
    )

    def __init__(self, charges: Sequence[Charge]) -> None:
        self.leases = [Lease(charge.budget) for charge in charges]
        self.asked = [Asked(charge.budget, charge.key) for charge in charges]
        # Where one budget is too small to lend from, the others' points would lapse beside it.
        self.lendable = min(lease.most for lease in self.leases)
        self.given = 0
        self.extended_at = self.busy_since = float("-inf")
        self.most = min(charge.budget.burst for charge in charges)
        self.need = 0
        self.ready = 0
        self.running: asyncio.Task[None] | None = None
        self.refusing = charges[0].budget
        self.refused_cost = 0
        self.refused_until = 0.0
        self._filled = self._purse = self._low = self._rest = 0
        self._good_until = 0.0
        self._said = (b"", b"")

    def take(self, cost: int, now: float) -> bool | None:
        """Spend lent points, of every budget or of none (False); nothing is waited for. None says that they are running low."""
        if cost > self._purse or now >= self._good_until:
            self.settle()
            if not all(lease.has(cost, now) for lease in self.leases):
                return False
            self._fill()
        self._purse -= cost
        return None if self._purse < self._low else True

    def settle(self) -> None:
        """Take what was spent out of the purse off the leases, and what is left back. Before anybody looks at them."""
        spent = self._filled - self._purse
        for lease in self.leases:
            lease.left -= spent
            lease.lapses += lease.interval * spent
        self._filled = self._purse = 0

    def _fill(self) -> None:
        leases, shown = self.leases, self.leases[0]
        self._filled = self._purse = filled = min(lease.left for lease in leases)
        self._good_until = min(lease.lapses for lease in leases)
        self._low = max(0 if lease.later else lease.low - (lease.left - filled) for lease in leases)
        self._rest = shown.shown - filled
        self._said = (b'"%b";r=' % shown.name, b";t=%d" % shown.back)

    @property
    def left(self) -> bytes:
        """What is left of the first budget, as `RateLimit` says it, and in how many seconds all is there again."""
        if not self._filled:
            shown = self.leases[0]
            return b'"%b";r=%d;t=%d' % (shown.name, shown.shown, shown.back)
        return b"%b%d%b" % (self._said[0], self._rest + self._purse, self._said[1])

    def wanted(self, now: float) -> int:
        """How many points to ask for ahead: as many as were spent lately in the time that they last."""
        if not self.lendable:
            return 0
        since, self.extended_at = now - self.extended_at, now
        if since > PAUSE_SECONDS:
            self.busy_since = now
            return 0
        if not self.is_steady(now):
            # Without a gap nothing is lost by lending more: what is not spent lapses when it would have come back.
            return self.lendable
        spent = self.given - min(lease.unspent(now) for lease in self.leases)
        return min(self.lendable, ceil(spent / max(since, 1e-3) * LEND_SECONDS))

    def is_steady(self, now: float) -> bool:
        """Whether requests have kept coming for longer than lent points last."""
        return now - self.busy_since > LEND_SECONDS

    def refusal(self, cost: int, now: float) -> Refused | None:
        """What Redis refused stays refused until its time has come: no points come back sooner."""
        if cost >= self.refused_cost and now < self.refused_until:
            return Refused(self.refusing, max(1, ceil(self.refused_until - now)))
        return None

    def refuse(self, decision: Decision, cost: int) -> None:
        """Remember a refusal: of the budget that takes longest, until its points are there."""
        worst = max(range(len(decision.parts)), key=lambda at: decision.parts[at].wait)
        self.refusing = self.leases[worst].budget
        self.refused_cost, self.refused_until = cost, decision.asked_at + decision.parts[worst].wait
        for lease, given in zip(self.leases, decision.parts, strict=True):
            lease.learn(given)
