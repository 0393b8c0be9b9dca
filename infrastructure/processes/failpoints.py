"""Named points at which a fault test can kill the process.

`TASKMASTER_FAILPOINT=name:n` kills the process with SIGKILL when the point is passed for the n-th time; `name:n:stop` stops
it with SIGSTOP instead, so that it may go on much later, when others have long done its work. A name ending in `in_flight`
marks a statement about to be sent: there the kill comes a moment later, from a second thread, so that it lands before,
during or after the server's commit. Without the variable a point costs one comparison.
"""

import os
import random
import signal
import threading
import time

_armed = ""
_remaining = 0
_signal = signal.SIGKILL


def arm(point: str) -> None:
    """Arm `name:n` or `name:n:stop`; an empty string disarms."""
    global _armed, _remaining, _signal  # noqa: PLW0603 - one switch a process, set once before it serves
    name, _, rest = point.partition(":")
    count, _, action = rest.partition(":")
    _armed, _remaining = name, int(count or 1)
    _signal = signal.SIGSTOP if action == "stop" else signal.SIGKILL


def failpoint(name: str) -> None:
    """Die here if the point is armed and its turn has come."""
    if _armed and name == _armed:
        _pass(name)


def _pass(name: str) -> None:
    global _remaining  # noqa: PLW0603
    _remaining -= 1
    if _remaining:
        return
    if name.endswith("in_flight"):
        threading.Thread(target=_die_soon, daemon=True).start()
    else:
        # To this very thread: a stop that another one takes up first would let this one go on past the point.
        signal.pthread_kill(threading.get_ident(), _signal)


def _die_soon() -> None:
    time.sleep(random.uniform(0, 0.002))
    os.kill(os.getpid(), _signal)
