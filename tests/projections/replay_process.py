"""Replays a log into its read models and prints a digest of them: a process of its own for tests of determinism.

Arguments: database URL, Redis URL, batch size. The order in which Python walks sets depends on PYTHONHASHSEED.
"""

import sys
from hashlib import sha256

from tests.log_world import World, open_world


def digest(world: World) -> str:
    """Of every row and every key, in a canonical order."""
    content = (sorted(world.table_dump().items()), sorted(world.hot_dump().items()))
    return sha256(repr(content).encode()).hexdigest()


def main() -> None:
    database_url, redis_url, batch = sys.argv[1:]
    with open_world(database_url, redis_url) as world:
        world.forget_read_models()
        world.project(int(batch))
        sys.stdout.write(digest(world))


if __name__ == "__main__":
    main()
