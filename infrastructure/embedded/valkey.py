"""The embedded Valkey, a Redis-protocol server: its process and its address."""

import signal
from urllib.parse import quote

import redis

from infrastructure.embedded.home import Binaries, Home
from infrastructure.embedded.server import LocalServer

OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    "databases": "16",
    # A title of its own would hide the command line from whoever looks at the process list.
    "set-proc-title": "no",
}


def redis_url(home: Home) -> str:
    """A redis-py URL of logical database 0."""
    return f"unix://{quote(str(home.sockets / 'valkey.sock'))}?db=0"


def valkey_server(home: Home, binaries: Binaries) -> LocalServer:
    """The server process, not started."""
    places = {
        "port": "0",
        "dir": str(home.valkey),
        "unixsocket": str(home.sockets / "valkey.sock"),
        "unixsocketperm": "700",
    }
    options = [part for name, value in (places | OPTIONS).items() for part in (f"--{name}", value)]

    def is_ready() -> bool:
        with redis.Redis.from_url(redis_url(home), socket_timeout=5, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    return LocalServer(
        command=[str(binaries.valkey_server), *options],
        folder=home.valkey,
        log=home.folder / "valkey.log",
        user=home.user,
        stop_signal=signal.SIGTERM,
        is_ready=is_ready,
    )
