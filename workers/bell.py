"""A Redis broker whose consumers are woken at once: the stock one polls with a back-off of up to a second.

Every queue has a "bell", a short list beside it. Enqueuing rings it; a consumer that finds its queue empty waits for the
bell with a blocking pop instead of sleeping. A lost ring costs one poll interval, a spare ring one empty look.
"""

import time
from collections.abc import Iterable
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed

BELLS_KEPT = 8


class BellBroker(RedisBroker):
    """RedisBroker with bells. Its keys and the bells share the namespace's hash tag, and so a slot in a cluster."""

    @property
    def consumer_class(self) -> type["BellConsumer"]:
        """What `consume` makes."""
        return BellConsumer

    def bell(self, queue_name: str) -> str:
        """The key of a queue's bell."""
        return f"{self.namespace}:bell:{queue_name}"

    def enqueue(self, message: "dramatiq.Message[Any]", *, delay: int | None = None) -> "dramatiq.Message[Any]":
        """Enqueue and ring."""
        enqueued: dramatiq.Message[Any] = super().enqueue(message, delay=delay)
        if delay is None:
            with self.client.pipeline(transaction=False) as pipeline:
                pipeline.lpush(self.bell(message.queue_name), 1)
                pipeline.ltrim(self.bell(message.queue_name), 0, BELLS_KEPT - 1)
                pipeline.execute()
        return enqueued


class BellConsumer(_RedisConsumer):
    """Waits for the bell instead of sleeping. A time-out counts as a lost connection: escaping as anything else, it would
    end the consumer's thread for good while the process looks healthy."""

    def __next__(self) -> Any:
        """The next message, or None after one interval without any."""
        try:
            if self.message_cache or self.queue_name.endswith(".DQ"):
                return super().__next__()
            room = self.prefetch - self.outstanding_message_count
            if room <= 0:
                time.sleep(0.002)
                return None
            self.message_cache = self.broker.do_fetch(self.queue_name, room)
            if self.message_cache:
                return super().__next__()
            self.broker.client.brpop([self.broker.bell(self.queue_name)], timeout=self.timeout / 1000)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None
        return None

    def ack(self, message: Any) -> None:
        """Acknowledge."""
        try:
            super().ack(message)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None

    def nack(self, message: Any) -> None:
        """Give up on a message."""
        try:
            super().nack(message)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None

    def requeue(self, messages: Iterable[Any]) -> None:
        """Put fetched messages back. They are hints: where Redis is away they may be lost."""
        try:
            super().requeue(list(messages))
        except redis.RedisError as error:
            self.logger.warning("messages were not put back: %s", error)
