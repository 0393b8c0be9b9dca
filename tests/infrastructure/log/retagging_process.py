"""`taskmaster migrate` of the next release, whose scheme of tags is another one, in parts of a few events: with the arguments
URL and EVENTS A PART, and a point at which it is killed in TASKMASTER_FAILPOINT."""

import os
import sys

from infrastructure.log import retagging
from infrastructure.processes.failpoints import arm
from tests.infrastructure.log.another_scheme import take_next_scheme

if __name__ == "__main__":
    _, database_url, events_a_part = sys.argv
    take_next_scheme()
    arm(os.environ.get("TASKMASTER_FAILPOINT", ""))
    retagging.EVENTS_A_PART = int(events_a_part)  # type: ignore[misc]  # of this process
    retagging.retag(database_url, "main")
