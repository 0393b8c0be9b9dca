"""One process that appends numbered events, sixty-four at a time, until it has done as many as it was told or is killed.

Prints the number of each event that was answered. Arguments: database URL, scope, how many.
"""

import asyncio
import os
import sys
from uuid import UUID, uuid4

from application.log import NewEvent
from domain.task.events import TaskCreated
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.processes.failpoints import arm
from infrastructure.servers.postgres import connect
from tests.infrastructure.log_under_test import SCHEMA, an_append

AT_ONCE = 64


async def number_events(database_url: str, scope: UUID, count: int) -> None:
    appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA, "numbering"), SCHEMA)
    await appender.start()
    left = iter(range(count))

    async def one() -> None:
        for _ in left:
            answer = await appender.append(an_append(NewEvent(uuid4(), 1, TaskCreated("Ship it"), scope=scope)))
            print(answer.number, flush=True)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    await appender.stop()


if __name__ == "__main__":
    arm(os.environ["TASKMASTER_FAILPOINT"])
    asyncio.run(number_events(sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3])))
