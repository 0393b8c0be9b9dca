"""The relay: turns announcements of new positions into coalesced wake-ups of the projectors.

It is not needed for correctness. While it or Redis is away, the workers' own sweep finds what was appended.
"""

import logging
import signal
import sys
import time
from types import FrameType

import dramatiq
import redis

from infrastructure.processes.failpoints import arm, failpoint
from infrastructure.read_models.projecting import PROJECTORS
from infrastructure.servers.redis_client import BROKER, head_channel, sync_client
from infrastructure.settings import Settings, load_settings
from workers.broker import QUEUE, make_broker
from workers.projector import pending_key

logger = logging.getLogger("taskmaster.relay")

SECONDS_AN_EVENT = 0.002
MOST_SECONDS_BETWEEN = 0.07
PENDING_MILLISECONDS = 2000
SHORTEST_PAUSE = 0.1


class Relay:
    """Follows one log's announcements. While little happens each is passed on at once; the more events the last one brought,
    the longer the next one waits (up to 70 ms), so that under load the projectors get batches instead of single events."""

    def __init__(self, settings: Settings) -> None:
        self._log_name = settings.log_name
        self._broker = make_broker(settings)
        self._client: redis.Redis = sync_client(settings.redis_url, BROKER, timeout=2.0)
        self._stopped = False
        self._pause = SHORTEST_PAUSE

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End after the current step."""
        self._stopped = True

    def run(self) -> None:
        """Follow until stopped, through any number of outages of Redis."""
        while not self._stopped:
            try:
                self._follow()
            except (redis.RedisError, dramatiq.errors.BrokerConnectionError) as error:
                logger.warning("relay waits for Redis: %s", error)
                time.sleep(self._pause)
                self._pause = min(1.0, self._pause * 2)

    def _follow(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as announcements:
            announcements.subscribe(head_channel(self._log_name))
            self.wake()
            self._pause = SHORTEST_PAUSE
            waiting, allowed, newest, woken = False, 0.0, 0, 0
            while not self._stopped:
                patience = max(0.0, allowed - time.monotonic()) if waiting else 1.0
                if message := announcements.get_message(timeout=patience):
                    waiting, newest = True, int(message["data"])
                now = time.monotonic()
                if waiting and now >= allowed:
                    failpoint("relay.before_wake_up")
                    self.wake()
                    events = newest - woken
                    waiting, woken = False, newest
                    allowed = now + min(MOST_SECONDS_BETWEEN, SECONDS_AN_EVENT * max(events, 1))

    def wake(self) -> None:
        """Send one message a projector, except where one is on its way already."""
        with self._client.pipeline(transaction=False) as pipeline:
            for projector in PROJECTORS:
                pipeline.set(pending_key(self._log_name, projector), 1, nx=True, px=PENDING_MILLISECONDS)
            claimed = pipeline.execute()
        failpoint("relay.inside_wake_up")
        for projector, new in zip(PROJECTORS, claimed, strict=True):
            if new:
                self._broker.enqueue(
                    dramatiq.Message(
                        queue_name=QUEUE,
                        actor_name="project",
                        args=(self._log_name, projector),
                        kwargs={},
                        options={},
                    )
                )
        failpoint("relay.after_wake_up")


def main() -> None:
    """Run the relay until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load_settings()
    arm(settings.failpoint)
    relay = Relay(settings)
    signal.signal(signal.SIGTERM, relay.stop)
    signal.signal(signal.SIGINT, relay.stop)
    relay.run()
    sys.exit(0)


if __name__ == "__main__":
    main()
