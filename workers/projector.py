"""The projector actor, and the sweep that makes every message dispensable."""

import gc
import logging
import os
import signal
import threading
from contextlib import suppress

import dramatiq
import redis
from dramatiq.middleware import Middleware

from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.servers.redis_client import BROKER, sync_client
from infrastructure.settings import Settings
from projections import layouts_id
from workers.broker import QUEUE

logger = logging.getLogger("taskmaster.workers")

SWEEP_SECONDS = 1.5


def pending_key(log_name: str, projector: str) -> str:
    """While this key stands, a message for the projector is on its way and another one would say nothing new."""
    return f"{{tm}}:pending-{layouts_id()}:{log_name}:{projector}"


class Projecting(Middleware):
    """Owns the process's projectors, and sweeps them every 1.5 s whether messages arrive or not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs: dict[str, LogProjecting] = {}
        self._parent = 0
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)
        self._client: redis.Redis = sync_client(settings.redis_url, BROKER, timeout=0.5)

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002 - Dramatiq's hook
        """Open the projectors and start to sweep, before the first message is taken."""
        settings = self._settings
        self._logs[settings.log_name] = LogProjecting(
            settings.database_url,
            settings.redis_url,
            settings.log_name,
            settings.idempotency_seconds,
            settings.worker_cache_bytes,
        )
        self._parent = os.getppid()
        # As in the API: what was made until here stays.
        gc.collect()
        gc.freeze()
        self._sweeper.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002 - Dramatiq's hook
        """Stop sweeping; a batch under way is finished."""
        self._stop.set()
        self._sweeper.join(timeout=10)

    def run(self, log_name: str, projector: str) -> None:
        """Run one projector because a message said so."""
        with suppress(redis.RedisError):
            # Before the work: what is committed from now on needs a message of its own.
            self._client.delete(pending_key(log_name, projector))
        failpoint("worker.after_claim")
        log = self._logs.get(log_name)
        if log is None:
            logger.warning("a message names the log %r, which is not served here", log_name)
            return
        log.run(projector)

    def _sweep(self) -> None:
        while not self._stop.is_set():
            for log in self._logs.values():
                try:
                    log.sweep()
                except Exception:
                    logger.exception("the sweep failed; it goes on")
            if os.getppid() != self._parent:
                # Dramatiq's worker processes outlive their killed master; whoever starts it again starts new ones.
                logger.error("the process that started this worker is gone: the worker ends")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._stop.wait(SWEEP_SECONDS)


def declare_projector(broker: dramatiq.Broker, projecting: Projecting) -> "dramatiq.Actor[[str, str], None]":
    """The actor `project(log, projector)`. Its message is a hint and carries no event."""
    declare = dramatiq.actor(actor_name="project", queue_name=QUEUE, broker=broker)
    actor: dramatiq.Actor[[str, str], None] = declare(projecting.run)
    return actor
