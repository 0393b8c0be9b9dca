"""Budgets of one process alone, for as long as Redis does not decide."""

from collections.abc import Sequence
from typing import Final

from infrastructure.limits.budgets import MICRO, Budget
from infrastructure.limits.redis_budgets import Asked, Decision, Given

MOST_KEYS: Final = 50_000


class LocalBudgets:
    """What this process may give without asking anybody.

    One process alone knows what it gave: it goes on with that. One of several knows nothing of the others', so for it all is
    used up at the moment at which it was cut off, and its share of what comes back since then is its own: the shares
    together are what Redis would have given.
    """

    def __init__(self, processes: int, now: float) -> None:
        self._processes = processes
        # All that may have been given before this moment, by this process or another, is unknown.
        self._unknown_before = now
        self._back_at: dict[str, float] = {}

    def cut_off(self, now: float) -> None:
        """From now on this process decides by itself."""
        if self._processes > 1:
            self._unknown_before = now
            self._back_at.clear()

    def learn(self, key: str, back_at: float) -> None:
        """Redis said that the budget is whole again at that time. Only a process alone can use that."""
        if self._processes > 1:
            return
        self._keep(key, back_at)

    def used_up(self, budget: Budget, key: str, now: float) -> float:
        """For how many seconds the budget counts as used up, by what is known here."""
        whole = budget.interval * budget.burst / MICRO
        return max(0.0, self._back_at.get(key, self._unknown_before + whole) - now)

    def known(self, key: str, now: float) -> float:
        """The same, where what is not known here counts as untouched."""
        return max(0.0, self._back_at.get(key, now) - now)

    def decide(self, asked: Sequence[Asked], cost: int, now: float) -> Decision:
        """Take `cost` points from every budget, or none from any."""
        parts, is_given = list[Given](), True
        for each in asked:
            own = each.budget.share(self._processes)
            interval, whole = own.interval / MICRO, own.interval * own.burst / MICRO
            used = self.used_up(own, each.key, now)
            free = int((whole - used) / interval + 1e-9) if own.burst else 0
            is_given = is_given and free >= cost
            wait = used + cost * interval - whole if own.burst >= cost else float(each.budget.seconds)
            parts.append(Given(0, now, max(0, free), used, max(0.0, wait)))
        if not is_given:
            return Decision(now, False, 0, tuple(parts))
        for at, each in enumerate(asked):
            interval = each.budget.share(self._processes).interval / MICRO
            back = parts[at].back + cost * interval
            self._keep(each.key, now + back)
            parts[at] = Given(0, now, parts[at].left - cost, back, 0.0)
        return Decision(now, True, cost, tuple(parts))

    def _keep(self, key: str, back_at: float) -> None:
        # Those used least recently stand first.
        self._back_at.pop(key, None)
        self._back_at[key] = back_at
        if len(self._back_at) > MOST_KEYS:
            oldest = next(iter(self._back_at))
            self._unknown_before = max(self._unknown_before, self._back_at.pop(oldest))
