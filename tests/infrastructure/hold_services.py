"""A program that starts both servers on a data folder, writes to each and waits to be killed."""

import json
import signal
import sys

import psycopg
import redis

from infrastructure.embedded.services import LocalServices
from infrastructure.settings import Settings


def hold(data_dir: str) -> None:
    """Print the process ids as JSON once both writes are acknowledged, then wait for a signal."""
    with LocalServices(Settings(data_dir=data_dir)) as services:
        with psycopg.connect(services.database_url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
            connection.execute("INSERT INTO kept VALUES (1)")
        with redis.Redis.from_url(services.redis_url) as client:
            client.set("kept", "1")
        print(json.dumps({"postgres": services.postgres_pid, "redis": services.redis_pid}), flush=True)
        signal.pause()


if __name__ == "__main__":
    hold(sys.argv[1])
