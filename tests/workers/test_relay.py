"""The relay: announcements become messages, as many as are useful, through any outage of Redis."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from infrastructure.embedded.services import LocalServices
from infrastructure.read_models.projecting import PROJECTORS
from infrastructure.servers.redis_client import BROKER, head_channel, sync_client
from infrastructure.settings import Settings
from tests.infrastructure.processes_under_test import wait_until
from tests.log_world import LOG
from workers.bell import BellBroker
from workers.broker import QUEUE
from workers.projector import pending_key
from workers.relay import Relay


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    with sync_client(settings.redis_url, BROKER) as opened:
        yield opened


@pytest.fixture
def relay(settings: Settings, broker: BellBroker) -> Iterator[Relay]:
    """It runs, has subscribed, and its first wake-up was taken away again."""
    with following(settings) as running:
        wait_until(lambda: queued(broker) == len(PROJECTORS))
        take(broker)
        yield running


@contextmanager
def following(settings: Settings) -> Iterator[Relay]:
    running = Relay(settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(30)
    assert not thread.is_alive()


def queued(broker: BellBroker) -> int:
    return int(broker.do_qsize(QUEUE))


def take(broker: BellBroker) -> None:
    """What a worker does first: the messages go, and nothing is pending."""
    broker.flush(QUEUE)
    broker.client.delete(*(pending_key(LOG, projector) for projector in PROJECTORS))


def announce(client: redis.Redis, position: int) -> None:
    client.publish(head_channel(LOG), position)


def test_an_announcement_becomes_one_message_a_projector(relay: Relay, broker: BellBroker, client: redis.Redis) -> None:
    announce(client, 1)
    wait_until(lambda: queued(broker) == len(PROJECTORS))
    consumer = broker.consumer_class(broker, QUEUE, 10, 50)
    assert {tuple(next(consumer).args) for _ in PROJECTORS} == {(LOG, projector) for projector in PROJECTORS}


def test_announcements_while_a_message_is_on_its_way_add_none(relay: Relay, broker: BellBroker, client: redis.Redis) -> None:
    for position in range(1, 200):
        announce(client, position)
    wait_until(lambda: queued(broker) == len(PROJECTORS))
    # The relay has read them all once it answers another one after the messages were taken.
    take(broker)
    announce(client, 200)
    wait_until(lambda: queued(broker) == len(PROJECTORS))
    assert queued(broker) == len(PROJECTORS)


def test_a_restarted_redis_is_followed_again(
    relay: Relay, broker: BellBroker, settings: Settings, services: LocalServices
) -> None:
    services.kill_redis()
    services.start_redis(empty=True)
    # It subscribes again, and wakes the projectors for what it may have missed.
    wait_until(lambda: _quietly(broker) == len(PROJECTORS))
    take(broker)
    with sync_client(settings.redis_url, BROKER) as fresh:
        announce(fresh, 7)
        wait_until(lambda: queued(broker) == len(PROJECTORS))


def _quietly(broker: BellBroker) -> int:
    try:
        return queued(broker)
    except redis.RedisError:
        return -1


def test_a_relay_that_starts_wakes_for_what_it_has_missed(settings: Settings, broker: BellBroker) -> None:
    with following(settings):
        wait_until(lambda: queued(broker) == len(PROJECTORS))
