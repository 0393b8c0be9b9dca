"""granian's command line, with workers that can be stopped from their first moment on.

A worker of granian is a fork that keeps its parent's way of handling signals until the application has been imported and
has started: a signal to end in that time only sets a flag in the fork's memory, and the parent waits for the worker until it
kills it.
"""

import os
import signal

from granian.cli import entrypoint


def _end_at_once() -> None:
    """Until the worker serves it has nothing to finish."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=_end_at_once)
    entrypoint()  # type: ignore[no-untyped-call]  # it has no types of its own
