"""How long and how much: the full run, or a short one that only shows that everything works."""

import msgspec


class Plan(msgspec.Struct, frozen=True):
    """Bounds of a run. Counts are per figure; `growth_events` is the size of the large log."""

    rounds: int = 3
    round_seconds: float = 3.0
    single_appends: int = 1_000
    idle_commands: int = 250
    load_seconds: float = 10.0
    crowd_seconds: float = 10.0
    rebuild_tasks: int = 5_000
    stream_events: int = 10_000
    time_travels: int = 300
    growth_events: int = 1_000_000
    growth_requests: int = 400
    starts: int = 3
    listed_tasks: int = 100_000
    wide_tasks: int = 150
    long_events: int = 100
    searches: int = 300
    filter_runs: int = 100
    past_runs: int = 20
    differences: int = 60
    past_rebuilds: int = 5
    noisy_rounds: int = 3
    quiet_creates: int = 400
    hostile_tasks: int = 3_000


FULL = Plan()
QUICK = Plan(
    round_seconds=1.0,
    single_appends=200,
    idle_commands=40,
    load_seconds=2.0,
    crowd_seconds=2.0,
    rebuild_tasks=1_000,
    stream_events=1_000,
    time_travels=50,
    growth_events=20_000,
    growth_requests=60,
    starts=1,
    listed_tasks=3_000,
    wide_tasks=20,
    long_events=20,
    searches=60,
    filter_runs=5,
    past_runs=3,
    differences=10,
    past_rebuilds=1,
    noisy_rounds=1,
    quiet_creates=100,
    hostile_tasks=200,
)
