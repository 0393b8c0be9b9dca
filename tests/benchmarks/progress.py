"""How far the read models are behind the log: waiting for them, and watching them under load."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.checkpoint_rows import read_checkpoints
from infrastructure.read_models.hot_store import HotStore
from infrastructure.servers.postgres import log_schema
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from infrastructure.settings import Settings
from projections import ALL, HOT
from projections.engine.port import Incomplete
from tests.benchmarks.figures import NotMeasured

SAMPLE_SECONDS = 0.1


class Progress:
    """Looks at the log's head and at every read model's checkpoint. Used by one thread at a time; close it."""

    def __init__(self, settings: Settings) -> None:
        self._source = PostgresLogSource(settings.database_url, settings.log_name)
        self._connection = Reconnecting(settings.database_url, log_schema(settings.log_name), "benchmark")
        self._redis = sync_client(settings.redis_url, READ_MODELS)
        self._hot = HotStore(self._connection, self._redis, settings.log_name)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        self._connection.close()
        self._redis.close()

    def head(self) -> int:
        """The log's newest position."""
        return self._source.head()

    def hot(self) -> int:
        """The position of the read model in Redis, 0 while it is being built."""
        try:
            return self._hot.checkpoints()[0].position
        except Incomplete:
            return 0

    def tables(self) -> int:
        """The position of the Postgres read model that is furthest behind."""
        names = [name for name in ALL if name != HOT]
        return min(checkpoint.position for checkpoint in read_checkpoints(self._connection.get(), names))

    def slowest(self) -> int:
        """The position of the read model that is furthest behind."""
        return min(self.hot(), self.tables())

    def wait(self, seconds: float = 60.0, on_position: Callable[[int], None] = lambda _: None) -> float:
        """Until every read model has reached the present head; the seconds it took. Raises NotMeasured if it does not."""
        head, started = self.head(), time.monotonic()
        while (position := self.slowest()) < head:
            on_position(position)
            if time.monotonic() - started > seconds:
                raise NotMeasured(f"the read models stood at {position} of {head} after {seconds:.0f} s")
            time.sleep(0.005)
        on_position(head)
        return time.monotonic() - started


class Backlog:
    """Samples of a load's backlog: how many events the slowest read model had not applied, ten times a second."""

    def __init__(self) -> None:
        self.samples: list[int] = []

    @property
    def at_end(self) -> int:
        """The median of the load's last fifth."""
        if not self.samples:
            raise NotMeasured("the backlog was never looked at")
        return int(statistics.median(self.samples[-max(1, len(self.samples) // 5) :]))

    @property
    def peak(self) -> int:
        """The most."""
        return max(self.samples, default=0)


@contextmanager
def watching_backlog(settings: Settings) -> Iterator[Backlog]:
    """Sample the backlog while the block runs."""
    backlog, stop = Backlog(), threading.Event()

    def sample() -> None:
        with Progress(settings) as progress:
            while not stop.wait(SAMPLE_SECONDS):
                backlog.samples.append(max(0, progress.head() - progress.slowest()))

    watcher = threading.Thread(target=sample, name="backlog")
    watcher.start()
    try:
        yield backlog
    finally:
        stop.set()
        watcher.join()
