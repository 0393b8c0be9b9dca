"""The bell: an idle consumer is woken by the message itself, and no trouble with Redis ends it."""

import threading
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.errors import ConnectionClosed

from infrastructure.embedded.services import LocalServices
from infrastructure.servers.redis_client import BROKER, sync_client
from tests.infrastructure.processes_under_test import wait_until
from workers.bell import BELLS_KEPT, BellBroker, BellConsumer
from workers.broker import QUEUE

WAIT = 30.0


def message(number: int = 1) -> "dramatiq.Message[Any]":
    return dramatiq.Message(queue_name=QUEUE, actor_name="note", args=(number,), kwargs={}, options={})


@pytest.fixture
def done(broker: BellBroker) -> "Iterator[list[int]]":
    """What an actor has been given; the worker runs with two threads."""
    received: list[int] = []
    dramatiq.actor(received.append, actor_name="note", queue_name=QUEUE, broker=broker)
    worker = dramatiq.Worker(broker, worker_threads=2)
    worker.start()
    yield received
    worker.stop(timeout=5000)


def blocked_on_the_bell(client: redis.Redis) -> int:
    """How many connections are waiting for a bell at this moment."""
    clients: Any = client.client_list()
    return sum(each["cmd"] == "brpop" and "b" in each["flags"] for each in clients)


def test_an_idle_consumer_waits_for_the_bell_and_is_woken_by_it(broker: BellBroker) -> None:
    """With an interval of ten minutes only the bell can end the waiting."""
    broker.declare_queue(QUEUE)
    broker.client.connection_pool.connection_kwargs["socket_timeout"] = None
    consumer: BellConsumer = broker.consumer_class(broker, QUEUE, 1, 600_000)
    found: list[Any] = []

    def consume() -> None:
        while not found:
            if (each := next(consumer)) is not None:
                found.append(each)

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    wait_until(lambda: blocked_on_the_bell(broker.client) == 1)
    assert not found
    broker.enqueue(message(5))
    thread.join(WAIT)
    assert [each.args for each in found] == [(5,)]


def test_an_interval_without_a_message_ends_with_none(broker: BellBroker) -> None:
    broker.declare_queue(QUEUE)
    assert next(broker.consumer_class(broker, QUEUE, 1, 50)) is None


def test_rings_that_nobody_hears_do_not_pile_up(broker: BellBroker) -> None:
    broker.declare_queue(QUEUE)
    for n in range(3 * BELLS_KEPT):
        broker.enqueue(message(n))
    assert broker.client.llen(broker.bell(QUEUE)) == BELLS_KEPT
    assert broker.do_qsize(QUEUE) == 3 * BELLS_KEPT


def test_every_message_is_worked_on_once(broker: BellBroker, done: list[int]) -> None:
    for n in range(200):
        broker.enqueue(message(n))
    wait_until(lambda: len(done) >= 200)
    assert sorted(done) == list(range(200))


def test_a_message_that_was_there_before_the_worker_is_found_without_a_bell(broker: BellBroker) -> None:
    received: list[int] = []
    dramatiq.actor(received.append, actor_name="note", queue_name=QUEUE, broker=broker)
    broker.enqueue(message(3))
    broker.client.delete(broker.bell(QUEUE))
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    try:
        wait_until(lambda: received == [3])
    finally:
        worker.stop(timeout=5000)


def test_the_consumer_goes_on_after_redis_was_killed_and_is_back(
    broker: BellBroker, done: list[int], services: LocalServices
) -> None:
    broker.enqueue(message(1))
    wait_until(lambda: done == [1])
    services.kill_redis()
    services.start_redis(empty=True)
    with sync_client(services.redis_url, BROKER) as client:
        wait_until(lambda: blocked_on_the_bell(client) >= 1)
    broker.enqueue(message(2))
    wait_until(lambda: done == [1, 2])


def test_a_time_out_counts_as_a_lost_connection(broker: BellBroker, services: LocalServices) -> None:
    """Anything else would end the consumer's thread for good."""
    hasty = BellBroker(client=sync_client(services.redis_url, BROKER, timeout=0.2), namespace=broker.namespace, middleware=[])
    hasty.declare_queue(QUEUE)
    hasty.enqueue(message(1))
    consumer = hasty.consumer_class(hasty, QUEUE, 1, 50)
    fetched = next(consumer)
    services.pause_redis()
    try:
        with pytest.raises(ConnectionClosed):
            next(hasty.consumer_class(hasty, QUEUE, 1, 50))
        with pytest.raises(ConnectionClosed):
            consumer.ack(fetched)
        with pytest.raises(ConnectionClosed):
            consumer.nack(fetched)
        consumer.requeue([fetched])
    finally:
        services.resume_redis()


def test_a_paused_redis_does_not_end_the_workers_threads(broker: BellBroker, done: list[int], services: LocalServices) -> None:
    broker.enqueue(message(1))
    wait_until(lambda: done == [1])
    broker.client.connection_pool.connection_kwargs["socket_timeout"] = 1.5
    broker.client.connection_pool.disconnect()
    threads = [thread for thread in threading.enumerate() if type(thread).__name__ == "ConsumerThread"]
    assert len(threads) == 2
    services.pause_redis()
    try:
        wait_until(lambda: any("Restarting" in str(record) for record in _restarts))
    finally:
        services.resume_redis()
    broker.enqueue(message(2))
    wait_until(lambda: 2 in done)
    assert all(thread.is_alive() for thread in threads)


_restarts: list[str] = []


@pytest.fixture(autouse=True)
def _hear_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dramatiq tells its log when a consumer starts again."""
    _restarts.clear()
    before = dramatiq.worker.ConsumerThread.close

    def close(self: Any) -> None:
        _restarts.append("Restarting")
        before(self)

    monkeypatch.setattr(dramatiq.worker.ConsumerThread, "close", close)
