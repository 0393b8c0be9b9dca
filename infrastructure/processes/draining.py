"""How an API process learns that it is about to be stopped, while it goes on serving: a file appears.

Whoever spreads requests over processes asks `/readyz`, and needs a moment to notice and to send nothing more. A signal
cannot say it: the server in front of the application takes SIGTERM for itself and closes the port at once.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

LOOK_SECONDS = 0.1


class Draining:
    """Whether this process is about to be stopped. `begun` never goes back to False."""

    __slots__ = ("_file", "_watch", "begun")

    def __init__(self, file: str = "") -> None:
        self.begun = False
        self._file = Path(file) if file else None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for the file from now on; without one there is nothing to look for."""
        if self._file is not None:
            self._watch = asyncio.create_task(self._look(self._file), name="draining")

    async def stop(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def _look(self, file: Path) -> None:
        # Ten looks at a file's entry a second cost less than a thread for one of them.
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - a file raises no event
            await asyncio.sleep(LOOK_SECONDS)
        self.begun = True
