"""A process that runs one projector until it has reached a position: `python -m tests.benchmarks.project NAME POSITION`."""

import sys
import time

from infrastructure.read_models.projecting import LogProjecting
from infrastructure.settings import load_settings
from tests.benchmarks.progress import Progress

LOOK_SECONDS = 0.05


def main(projector: str, position: int) -> None:
    """Project what there is, again and again."""
    settings = load_settings()
    projecting = LogProjecting(settings.database_url, settings.redis_url, settings.log_name)
    with Progress(settings) as progress:
        while (progress.hot() if projector == "hot" else progress.tables()) < position:
            projecting.run(projector)
            time.sleep(LOOK_SECONDS)
    projecting.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
