"""The figures by name: what each is measured against, and one measured value with the sides it is made of."""

import statistics
from collections.abc import Sequence

import msgspec


class NotMeasured(Exception):
    """A figure has no value that could be believed; the run fails and says why."""


class Target(msgspec.Struct, frozen=True):
    """What a figure has to reach: `at_least`, or at most where that is False. `what` is measured, and against what."""

    goal: float
    unit: str
    at_least: bool = False
    what: str = ""

    def is_met(self, value: float) -> bool:
        """Whether `value` reaches it; being equal is enough."""
        return value >= self.goal if self.at_least else value <= self.goal


TARGETS: dict[str, Target] = {
    "append_per_s": Target(12_000, "events/s", at_least=True, what="64 at once"),
    "append_one_ms": Target(0.8, "ms", what="one at a time, p50"),
    "append_vs_library": Target(10, "x", at_least=True, what="the library's `Application.save` in the same run"),
    "append_tagged_ratio": Target(0.65, "x", at_least=True, what="64 at once, each with one tag and one condition / with none"),
    "numbered_ratio": Target(0.7, "x", at_least=True, what="creations into one numbered project / into many"),
    "append_vs_dcb": Target(
        10,
        "x",
        at_least=True,
        what="the library's `eventsourcing.dcb` recorder, one tag and one condition, on the same server",
    ),
    "contended_per_s": Target(
        500,
        "per s",
        at_least=True,
        what="32 writers on one boundary, one process, each command with a tag and a condition",
    ),
    "contended_fairness": Target(0.8, "x", at_least=True, what="fewest / most commands of one of them, in the worst round"),
    "command_alone_vs_bare": Target(0.45, "x", at_least=True, what="create over HTTP / bare Litestar, no workers"),
    "command_vs_bare": Target(0.30, "x", at_least=True, what="the same with relay and worker keeping up"),
    "query_vs_bare": Target(0.65, "x", at_least=True, what="default list / bare Litestar returning the same bytes"),
    "lag_idle_p50_ms": Target(10, "ms", what="receipt to visible in Redis"),
    "lag_idle_p99_ms": Target(50, "ms", what="the same"),
    "lag_load_p99_ms": Target(150, "ms", what="at half of the highest rate"),
    "rebuild_events_per_s": Target(10_000, "events/s", at_least=True, what="all read models, one worker"),
    "temporal_cost_ratio": Target(0.75, "x", at_least=True, what="rebuild with / without the past sides"),
    "import_s": Target(8, "s", what="help desk history, 21,348 rows, read models included"),
    "as_of_10k_ms": Target(15, "ms", what="`version=` in a stream of 10,000 events, early ones included"),
    "compressed_vs_plain": Target(0.5, "x", at_least=True, what="lists a second with `Accept-Encoding: gzip, br` / without"),
    "as_of_position_10k_ms": Target(15, "ms", what="`as_of=position`"),
    "as_of_instant_10k_ms": Target(15, "ms", what="`as_of=instant`"),
    "search_100k_ms": Target(15, "ms", what="two words among 100,000 tasks, p50"),
    "filter_worst_ms": Target(20, "ms", what="worst p99 of 115 combinations of filters and orders, 100,000 tasks"),
    "as_of_list_worst_ms": Target(
        20,
        "ms",
        what="worst p50 of 750 combinations of filters, orders and parts of the log, 100,000 tasks",
    ),
    "diff_1k_ms": Target(10, "ms", what="worst p50 of twelve `GET /tasks/diff`, 1,000 positions apart, same data"),
    "largest_answer_mb": Target(2, "MB", what="largest answer that a hostile client gets"),
    "mixed_per_s": Target(8_000, "per s", at_least=True, what="90 % reads, 10 % creations, 256 connections"),
    "mixed_p99_ms": Target(80, "ms", what="the same requests"),
    "crowd_refused": Target(0, "requests", what="the same with 5,000 connections"),
    "crowd_p99_ms": Target(3_000, "ms", what="the same"),
    "growth_command": Target(1.25, "x", what="p50 of commands at 1M events in the log / at 1k"),
    "growth_query": Target(1.25, "x", what="the same of the default list"),
    "limited_list_ratio": Target(0.97, "x", at_least=True, what="lists a second with limits / without"),
    "signin_flood_ratio": Target(3, "x", what="p99 of others' lists during 200 clients' wrong sign-ins / before"),
    "api_rss_mb": Target(200, "MB", what="the API process after all rounds of commands"),
    "worker_rss_mb": Target(250, "MB", what="the worker process after them"),
    "start_s": Target(6, "s", what="`taskmaster dev` to ready"),
    "noisy_create_ratio": Target(3, "x", what="p50 of creations beside twelve batches of 1,000 of another workspace / alone"),
    "noisy_read_p99_ms": Target(100, "ms", what="lists meanwhile"),
    "hostile_rss_mb": Target(350, "MB", what="API after 3,000 tasks with 64 KiB beyond U+FFFF"),
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
