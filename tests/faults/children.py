"""What a forked child runs: the real application, relay, worker or rebuild, with one failpoint armed."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dramatiq
import msgspec
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from api.app import create_app
from infrastructure.log.verify import verify_log
from infrastructure.processes.failpoints import arm
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.read_models.rebuild import rebuild
from infrastructure.read_models.verify import verify_read_models
from infrastructure.servers.migrate import migrate
from infrastructure.settings import Settings
from tests.faults.sabotage import SABOTAGE
from workers.broker import make_broker
from workers.projector import Projecting, declare_projector
from workers.relay import Relay

Ready = Callable[[], None]


def run(order: dict[str, Any], ready: Ready) -> None:
    """Become the role that the order names; returns when it is told to stop."""
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s {order['role']} %(message)s", force=True)
    settings = msgspec.convert(order["settings"], Settings)
    for name in order["sabotage"]:
        SABOTAGE[name]()
    _ROLES[order["role"]](settings, order, ready)


def _api(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    app = create_app(settings)
    arm(order["failpoint"])
    server = Server(app, uds=Path(order["socket"]), interface=Interfaces.ASGI, log_enabled=False)

    async def serve() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        await server.serve()

    ready()
    uvloop.run(serve())


def _relay(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    arm(order["failpoint"])
    relay = Relay(settings)
    signal.signal(signal.SIGTERM, relay.stop)
    ready()
    relay.run()


def _worker(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    if order["catch_up"]:
        # A batch at which workers were killed before is to be got over first: at the third death its events are parked.
        first = LogProjecting(settings.database_url, settings.redis_url, settings.log_name)
        first.sweep()
        first.close()
    arm(order["failpoint"])
    broker = make_broker(settings)
    projecting = Projecting(settings)
    broker.add_middleware(projecting)
    declare_projector(broker, projecting)
    worker = dramatiq.Worker(broker, worker_threads=2)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    worker.start()
    ready()
    signal.pause()
    worker.stop(timeout=5000)


def _rebuild(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    arm(order["failpoint"])
    ready()
    rebuild(settings.database_url, settings.redis_url, settings.log_name, order["projection"])


def _migrate(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    ready()
    migrate(settings.database_url, [settings.log_name])


def _verify(settings: Settings, order: dict[str, Any], ready: Ready) -> None:
    """What `taskmaster verify --read-models` finds amiss, or could not look at, as lines in a file."""
    ready()
    log = verify_log(settings.database_url, settings.log_name)
    found = [str(bad) for bad in (log.first_bad, log.derived_bad, log.tags_not_compared) if bad]
    models = verify_read_models(settings)
    found += [str(model) for model in models if model.differing or model.not_compared or model.position != log.head]
    Path(order["output"]).write_text("\n".join(found))


_ROLES: dict[str, Callable[[Settings, dict[str, Any], Ready], None]] = {
    "api": _api,
    "relay": _relay,
    "worker": _worker,
    "rebuild": _rebuild,
    "migrate": _migrate,
    "verify": _verify,
}
