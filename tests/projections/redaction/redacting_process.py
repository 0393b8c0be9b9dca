"""A worker's sweep in a process of its own that dies on the way. Arguments: database URL, Redis URL, failpoint as `name:n`."""

import sys

from infrastructure.processes.failpoints import arm
from infrastructure.read_models.projecting import LogProjecting
from tests.log_world import LOG


def main() -> None:
    database_url, redis_url, point = sys.argv[1:]
    arm(point)
    LogProjecting(database_url, redis_url, LOG).sweep()


if __name__ == "__main__":
    main()
