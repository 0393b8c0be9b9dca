"""Child processes that never outlive this one, and the processes an earlier run left behind."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

_PR_SET_PDEATHSIG = 1
_PROCESSES = Path("/proc")
# Loaded here and not in the child: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class SystemUser(NamedTuple):
    """A user of the operating system by its numbers."""

    uid: int
    gid: int


def start_process(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    death_signal: signal.Signals,
    user: SystemUser | None = None,
    working_dir: str | None = None,
    output: IO[bytes] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, as `user` if given.

    It is sent `death_signal` when the *thread* that called this ends, however it ends: call it from one that
    lives as long as the child shall. Of its own session, it does not see the terminal's Ctrl-C; whoever
    started it decides when it stops. Outside Linux it is not told of this process's death.
    """
    return subprocess.Popen(  # noqa: S603 - every command is ours, none comes from a client
        list(command),
        env=dict(environ),
        cwd=working_dir,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        # Changing the user clears the death signal, and preexec_fn is what runs after that change.
        preexec_fn=_dying_with_parent(death_signal),  # noqa: PLW1509 - it makes two system calls and takes no lock
    )


def stop_process(process: subprocess.Popen[bytes], stop_signal: signal.Signals, seconds: float) -> None:
    """Ask the process to stop, wait up to `seconds` for it, then kill what is left of its session's process
    group.
    """
    if process.poll() is None:
        process.send_signal(stop_signal)
        process.send_signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and every process it started that is still in its process group, and wait for it."""
    # An empty group raises; macOS says "not permitted" of one that holds only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def processes_working_in(folder: Path, executable: str) -> list[int]:
    """Ids of the running programs named `executable` whose working directory is `folder`.

    A server that works inside its data folder is found by this whatever became of its pid file, and a
    recycled process id is never taken for it. Linux only: elsewhere the answer is empty.
    """
    found = []
    for process in _PROCESSES.glob("[0-9]*"):
        try:
            program = Path(os.readlink(process / "exe").removesuffix(" (deleted)"))
            if program.name == executable and os.readlink(process / "cwd") == str(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send `number` to each process that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _dying_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            # The parent may have died before the call above: then the signal never comes.
            if os.getppid() != parent:
                os._exit(1)

    return arrange
