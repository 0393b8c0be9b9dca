"""One process of this release that appends labelled tasks, sixteen at a time, until another release takes the log over.

Prints a line once the first one is stored, and at the end how many were. Argument: database URL.
"""

import asyncio
import sys
from contextlib import suppress
from itertools import count
from uuid import uuid4

from application.log import NewEvent
from domain.task.events import TaskCreated
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.log.tags import OtherTagScheme
from infrastructure.servers.postgres import connect
from tests.infrastructure.log_under_test import SCHEMA, an_append

AT_ONCE = 16


async def append_until_left_behind(database_url: str) -> int:
    appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA, "appending"), SCHEMA)
    await appender.start()
    stored = 0

    async def one() -> None:
        nonlocal stored
        with suppress(OtherTagScheme):
            for number in count():
                await appender.append(an_append(NewEvent(uuid4(), 1, TaskCreated("Ship it", labels=(f"label {number % 7}",)))))
                stored += 1
                if stored == 1:
                    print("going", flush=True)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    await appender.stop()
    return stored


if __name__ == "__main__":
    print(asyncio.run(append_until_left_behind(sys.argv[1])))
