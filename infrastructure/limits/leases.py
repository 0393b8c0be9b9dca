"""Points that a process was lent ahead of need: taken from Redis before they are spent, lapsing where they are not."""

from math import ceil

from infrastructure.limits.budgets import MICRO, Budget
from infrastructure.limits.redis_budgets import LEND_SECONDS, SMALLEST_PART, Given


class Lease:
    """Points of one budget. Each lapses at the time at which it would have come back, which keeps the budget exact: what is
    spent late can never meet with what has come back since. `most` is how many are lent at once: what comes back in
    LEND_SECONDS, or a part of the burst.

    `left` points, of which the first lapses at `lapses`, each further one `interval` seconds later.
    """

    __slots__ = ("back", "budget", "interval", "lapses", "later", "left", "low", "most", "name", "remaining")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.name = budget.name.encode()
        self.interval = budget.interval / MICRO
        most = min(int(LEND_SECONDS / self.interval), budget.burst // SMALLEST_PART)
        self.most = most if most > 1 else 0
        self.low = 0
        self.left = 0
        self.lapses = 0.0
        self.later: list[tuple[int, float]] = []
        self.remaining = 0
        self.back = 0

    def add(self, given: Given) -> None:
        """Take in what Redis gave; it lapses after whatever is there already."""
        self.learn(given)
        if self.left < 1:
            self.left, self.lapses = given.lent, given.lapses
        elif given.lent:
            self.later.append((given.lent, given.lapses))
        self.low = given.lent // 2

    def learn(self, given: Given) -> None:
        """How many are left besides those lent to this process, and in how many whole seconds all are there again."""
        self.remaining, self.back = given.left, ceil(given.back)

    def has(self, cost: int, now: float) -> bool:
        """Whether so many can be spent now. Drops what has lapsed, and a rest that is too small."""
        while True:
            if self.lapses <= now:
                gone = int((now - self.lapses) / self.interval) + 1
                self.left -= gone
                self.lapses += gone * self.interval
            if self.left >= cost:
                return True
            if not self.later:
                self.left = max(0, self.left)
                return False
            self.left, self.lapses = self.later.pop(0)

    def unspent(self, now: float) -> int:
        """How many there are that have not lapsed."""
        return (self.left if self.has(1, now) else 0) + sum(points for points, _ in self.later)

    @property
    def shown(self) -> int:
        """Points left, those that are lent to this process included."""
        return self.remaining + max(0, self.left)
