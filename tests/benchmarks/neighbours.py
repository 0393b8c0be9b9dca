"""What a neighbour costs: one workspace sends thousands of commands at once, or texts as large and wide as they may be."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import msgspec

from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.http_client import Connection, Request, require_success
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import HOST, Bench, Server, User, creation, register, resident_mb

KEYS = ("noisy_create_ratio", "noisy_read_p99_ms", "hostile_rss_mb")
BATCHES = 12
COMMANDS_A_BATCH = 1_000
BATCH_SECONDS = 120.0
"""The last of the batches waits for all the others."""
TASKS_ON_THE_LIST = 50
SENDERS = 4
WIDE = "\U0001f6a2" * 16_384
"""As many bytes as a description may have in UTF-8, of characters that take four in memory too."""


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """The quiet workspace alone and beside the noisy one, by turns; then the hostile texts on an API process of their own."""
    with bench.stage() as settings, bench.api(settings) as api:
        quiet, noisy = register(api), register(api)
        with bench.background(settings), Progress(settings) as progress:
            _repeat(api, creation(quiet), TASKS_ON_THE_LIST)
            progress.wait()
            rounds = [_Round(api, quiet, noisy, plan, progress) for _ in range(plan.noisy_rounds)]
    return [*_noisy(rounds), _hostile(bench, plan)]


class _Round:
    """Creates alone; then creates and reads for as long as the batches take."""

    def __init__(self, api: Server, quiet: User, noisy: User, plan: Plan, progress: Progress) -> None:
        create, read = creation(quiet), Request("GET", "/api/v1/tasks", quiet.headers)
        self.alone = _repeat(api, create, plan.quiet_creates)
        self.creates: list[float] = []
        self.reads: list[float] = []
        with (
            _while_batches_run(api, noisy) as running,
            _beside(lambda: self._read(api, read, running)),
            api.connect() as connection,
        ):
            while running():
                self.creates.append(connection.timed(create, f"noisy-{id(self)}-{len(self.creates)}"))
        progress.wait()

    def _read(self, api: Server, read: Request, running: Callable[[], bool]) -> None:
        with api.connect() as connection:
            while running():
                self.reads.append(connection.timed(read))

    @property
    def ratio(self) -> float:
        return median(self.creates) / median(self.alone)


def _noisy(rounds: list[_Round]) -> list[Figure]:
    creates = sorted(rounds, key=lambda each: each.ratio)[len(rounds) // 2]
    reads = [taken for each in rounds for taken in each.reads]
    how = (
        f"POST /api/v1/tasks one at a time while another workspace sends {BATCHES} batches of {COMMANDS_A_BATCH:,} creations "
        f"at once, relay and worker running; p50 of {len(creates.creates)} against {len(creates.alone)} alone, median of "
        f"{len(rounds)} rounds; p99 {percentile(creates.creates, 0.99):.1f} ms"
    )
    sides = f"{median(creates.creates):.2f} / {median(creates.alone):.2f} ms"
    reading = (
        f"GET /api/v1/tasks of the quiet workspace meanwhile, one at a time, p99 of {len(reads)}; p50 {median(reads):.1f} ms"
    )
    return [
        Figure("noisy_create_ratio", creates.ratio, how, sides),
        Figure("noisy_read_p99_ms", percentile(reads, 0.99), reading),
    ]


def _hostile(bench: Bench, plan: Plan) -> Figure:
    with bench.stage() as settings, bench.api(settings) as api:
        user = register(api)
        body = msgspec.json.encode({"title": "Ship it", "description": WIDE})
        request = Request("POST", "/api/v1/tasks", {**user.headers, "Content-Type": "application/json"}, body)
        share = plan.hostile_tasks // SENDERS
        _all([lambda: _repeat(api, request, share) for _ in range(SENDERS)])
        taken = resident_mb(api.working_pid)
    how = f"API process after {plan.hostile_tasks:,} creations, {SENDERS} at a time, with 64 KiB of characters beyond U+FFFF"
    return Figure("hostile_rss_mb", taken, how)


def _repeat(api: Server, request: Request, times: int) -> list[float]:
    with api.connect() as connection:
        key = f"{threading.get_ident()}-{id(connection)}"
        return [connection.timed(request, f"{key}-{number}") for number in range(times)]


@contextmanager
def _while_batches_run(api: Server, noisy: User) -> Iterator[Callable[[], bool]]:
    """Send the batches, and tell as long as any of them is not answered."""
    commands = [{"command": {"command": "create", "title": f"task {n}"}} for n in range(COMMANDS_A_BATCH)]
    headers = {**noisy.headers, "Content-Type": "application/json"}
    request = Request("POST", "/api/v1/tasks/batch", headers, msgspec.json.encode({"commands": commands}))

    def send() -> None:
        with Connection(HOST, api.port, BATCH_SECONDS) as connection:
            answer = connection.send(request)
        require_success(answer)
        if answer.body.count(b'"status":201') != COMMANDS_A_BATCH:
            raise NotMeasured(f"a batch was not accepted whole: {answer.body[:300]!r}")

    over = threading.Event()

    def everything() -> None:
        try:
            _all([send] * BATCHES)
        finally:
            over.set()

    with _beside(everything):
        yield lambda: not over.is_set()


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[None]:
    """Work in a thread for the length of the block; its failure is the block's."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def _all(works: list[Callable[[], object]]) -> None:
    first, *rest = works
    if not rest:
        first()
        return
    with _beside(first):
        _all(rest)
