"""The broker that the relay sends to and the workers consume from."""

import dramatiq
from dramatiq.middleware import CurrentMessage, ShutdownNotifications

from infrastructure.servers.redis_client import BROKER, sync_client
from infrastructure.settings import Settings
from projections import layouts_id
from workers.bell import BellBroker

NAMESPACE = "{tm}"
QUEUE = f"projections-{layouts_id()}"
"""Workers of another release, whose read models have other layouts, listen to another queue."""


def make_broker(settings: Settings) -> BellBroker:
    """The broker over the Redis of `settings`, also set as Dramatiq's own.

    No Retries middleware: a projector's message is a hint that the sweep makes up for, so a failed one is dropped.
    """
    broker = BellBroker(
        client=sync_client(settings.redis_url, BROKER, timeout=5.0),
        namespace=NAMESPACE,
        heartbeat_timeout=15_000,
        maintenance_chance=50_000,
        middleware=[ShutdownNotifications(), CurrentMessage()],
    )
    dramatiq.set_broker(broker)
    return broker
