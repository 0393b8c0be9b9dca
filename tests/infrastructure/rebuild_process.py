"""A rebuild in a process of its own, to be killed in the middle. Arguments: database URL, Redis URL, read model, kill after."""

import os
import signal
import sys

import infrastructure.read_models.rebuild
from infrastructure.read_models.rebuild import rebuild
from tests.log_world import LOG


def main() -> None:
    database_url, redis_url, name, kill_after = sys.argv[1:]
    infrastructure.read_models.rebuild.BATCH = 100

    def progress(done: int, _total: int) -> None:
        if done >= int(kill_after):
            os.kill(os.getpid(), signal.SIGKILL)

    rebuild(database_url, redis_url, LOG, name, progress)


if __name__ == "__main__":
    main()
