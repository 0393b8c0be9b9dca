"""A process that has imported the whole product and forks children that run it: starting one takes milliseconds.

It speaks lines of JSON: orders come on standard input, `begun`, `started`, `ready` and `ended` go to standard output. It has
one thread and opens nothing, so that every child makes its own connections, loops and threads. When its standard input ends it
kills its children and leaves.
"""

import ctypes
import json
import os
import random
import select
import signal
import sys
from contextlib import suppress
from typing import Any

from projections import layouts_id
from tests.faults import children

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def main() -> None:
    """Serve orders until standard input ends."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    alive: set[int] = set()
    pending = b""
    say({"event": "begun", "layouts": layouts_id()})
    while True:
        ready, _, _ = select.select([0, readable], [], [])
        if readable in ready:
            os.read(readable, 4096)
            _reap(alive)
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                _fork(json.loads(line), alive)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _fork(order: dict[str, Any], alive: set[int]) -> None:
    pid = os.fork()
    if pid == 0:
        _become(order)
    alive.add(pid)
    say({"event": "started", "id": order["id"], "pid": pid})


def _become(order: dict[str, Any]) -> None:
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed(order["seed"])
    status = 1
    try:
        if os.getppid() == parent:
            children.run(order, lambda: say({"event": "ready", "id": order["id"]}))
            status = 0
    except SystemExit:
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, a forked child must not return into the loop of its parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(alive: set[int]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            alive.discard(pid)
            say({"event": "ended", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def say(event: dict[str, Any]) -> None:
    """One line, small enough for a pipe to take it whole whoever else writes."""
    os.write(1, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main()
