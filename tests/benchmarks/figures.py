"""The figures by name: what each is measured against, and one measured value with the sides it is made of."""

import statistics
from collections.abc import Sequence

import msgspec


class NotMeasured(Exception):
    """A figure has no value that could be believed; the run fails and says why."""


class Target(msgspec.Struct, frozen=True):
    """What a figure has to reach: `at_least`, or at most where that is False."""

    goal: float
    unit: str
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether `value` reaches it; being equal is enough."""
        return value >= self.goal if self.at_least else value <= self.goal


TARGETS: dict[str, Target] = {
    "append_per_s": Target(12_000, "events/s", at_least=True),
    "append_one_ms": Target(0.8, "ms"),
    "append_vs_library": Target(10, "x", at_least=True),
    "append_tagged_ratio": Target(0.65, "x", at_least=True),
    "numbered_ratio": Target(0.7, "x", at_least=True),
    "append_vs_dcb": Target(10, "x", at_least=True),
    "contended_per_s": Target(500, "per s", at_least=True),
    "contended_fairness": Target(0.8, "x", at_least=True),
    "command_alone_vs_bare": Target(0.45, "x", at_least=True),
    "command_vs_bare": Target(0.30, "x", at_least=True),
    "query_vs_bare": Target(0.65, "x", at_least=True),
    "lag_idle_p50_ms": Target(10, "ms"),
    "lag_idle_p99_ms": Target(50, "ms"),
    "lag_load_p99_ms": Target(150, "ms"),
    "rebuild_events_per_s": Target(10_000, "events/s", at_least=True),
    "temporal_cost_ratio": Target(0.75, "x", at_least=True),
    "import_s": Target(8, "s"),
    "as_of_10k_ms": Target(15, "ms"),
    "compressed_vs_plain": Target(0.5, "x", at_least=True),
    "as_of_position_10k_ms": Target(15, "ms"),
    "as_of_instant_10k_ms": Target(15, "ms"),
    "search_100k_ms": Target(15, "ms"),
    "filter_worst_ms": Target(20, "ms"),
    "as_of_list_worst_ms": Target(20, "ms"),
    "diff_1k_ms": Target(10, "ms"),
    "largest_answer_mb": Target(2, "MB"),
    "mixed_per_s": Target(8_000, "per s", at_least=True),
    "mixed_p99_ms": Target(80, "ms"),
    "crowd_refused": Target(0, "requests"),
    "crowd_p99_ms": Target(3_000, "ms"),
    "growth_command": Target(1.25, "x"),
    "growth_query": Target(1.25, "x"),
    "limited_list_ratio": Target(0.97, "x", at_least=True),
    "signin_flood_ratio": Target(3, "x"),
    "api_rss_mb": Target(200, "MB"),
    "worker_rss_mb": Target(250, "MB"),
    "start_s": Target(6, "s"),
    "noisy_create_ratio": Target(3, "x"),
    "noisy_read_p99_ms": Target(100, "ms"),
    "hostile_rss_mb": Target(350, "MB"),
}
"""Every figure of the run, in the order in which it is shown."""


class Figure(msgspec.Struct, frozen=True):
    """One measured value. `how` says in one line how it came about, `sides` gives both sides of a ratio in words."""

    key: str
    value: float
    how: str
    sides: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure reaches its target."""
        return TARGETS[self.key].is_met(self.value)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0 to 1) of them do not exceed. Raises NotMeasured without values."""
    if not values:
        raise NotMeasured("there is not one sample")
    ordered = sorted(values)
    # In whole samples, for 0.99 * 100 is a little more than 99 in floating point.
    rank = -(-round(share * 1_000_000) * len(ordered) // 1_000_000)
    return ordered[max(rank, 1) - 1]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of the medians, and both medians. Raises NotMeasured for fewer than one pair of rounds."""
    if not ours or len(ours) != len(theirs):
        raise NotMeasured("the sides of a ratio were not measured equally often")
    upper, lower = statistics.median(ours), statistics.median(theirs)
    if lower <= 0:
        raise NotMeasured("the side that is compared with came to nothing")
    return upper / lower, upper, lower


def complete_values(figures: Sequence[Figure]) -> dict[str, float]:
    """Key to value, exactly the keys of TARGETS in their order. Raises NotMeasured where one is missing or not finite."""
    found = {figure.key: figure.value for figure in figures}
    missing = [key for key in TARGETS if not -float("inf") < found.get(key, float("nan")) < float("inf")]
    if missing:
        raise NotMeasured(f"not measured: {', '.join(missing)}")
    return {key: round(found[key], 4) for key in TARGETS}
