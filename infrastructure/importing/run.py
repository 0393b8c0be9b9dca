"""One run of one import: chunk after chunk into the log.

A chunk is one transaction. What the log has of the file's tickets is read first, and again whenever somebody else changed one
of them: a row that is in the log is never appended again, whatever became of the run that put it there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

from application.importing.history import Chunk, TicketHistory, chunks_of
from application.importing.ids import ImportSource
from application.importing.mapping import TicketMapping
from application.importing.people import People
from application.importing.rows import Rejection, TicketRow
from application.log import LogUnavailable, VersionConflict
from infrastructure.importing.log_writing import ImportLog
from infrastructure.processes.failpoints import failpoint

MOST_ATTEMPTS: Final = 10

OnChunk = Callable[[int, int], None]
"""Told, after every chunk, how many rows are done and the log's position then (0 where nothing was
written).
"""


class ImportRun:
    """Decides and appends the rows. The counts are of what was done so far."""

    def __init__(
        self,
        log: ImportLog,
        source: ImportSource,
        mapping: TicketMapping,
        rows: Sequence[TicketRow],
        on_chunk: OnChunk | None = None,
        *,
        is_rehearsal: bool = False,
    ) -> None:
        self._log = log
        self._source = source
        self._people = People(source.owner_id, log.people(source.workspace_id))
        self._history = TicketHistory(source, self._people, mapping, rows, is_rehearsal=is_rehearsal)
        self._chunks = chunks_of(rows)
        self._on_chunk = on_chunk
        self._members: set[UUID] = {source.owner_id}
        self._done = 0
        self.cases: set[str] = set()
        self.activities: Counter[str] = Counter()
        self.rejected: list[Rejection] = []
        self.rows_before = 0
        self.events = 0
        self.position = 0

    def rehearse(self) -> None:
        """Decide everything on what the log holds now, and write nothing."""
        self._reload(*self._chunks)
        for number in range(len(self._chunks)):
            self._count(self._decide(number))

    def append(self, *, until_refused: bool = False) -> None:
        """Append what is not in the log yet; while one chunk is under way the next is decided.

        With `until_refused`, a chunk with a row that is refused is not appended, and the run ends there.
        """
        self._reload(*self._chunks)
        with ThreadPoolExecutor(1, "import") as sender:
            chunk = self._decide(0) if self._chunks else None
            while chunk is not None and not (until_refused and chunk.rejected):
                chunk = self._append_one(sender, chunk)
        if chunk is not None:
            self.rejected.extend(chunk.rejected)

    def _append_one(self, sender: ThreadPoolExecutor, chunk: Chunk) -> Chunk | None:
        """Append the chunk, and return the decided next one if there is one."""
        for _ in range(MOST_ATTEMPTS):
            sending = sender.submit(self._send, chunk)
            following = self._next(chunk)
            try:
                self.position = sending.result() or self.position
            except VersionConflict:
                self._reload(chunk.rows, following.rows if following else ())
                chunk = self._decide(chunk.number)
                continue
            self._count(chunk)
            return following
        raise LogUnavailable("other writers keep changing the imported tasks")

    def _decide(self, number: int) -> Chunk:
        return self._history.decide_chunk(number, self._chunks[number])

    def _next(self, chunk: Chunk) -> Chunk | None:
        number = chunk.number + 1
        return self._decide(number) if number < len(self._chunks) else None

    def _send(self, chunk: Chunk) -> int:
        """The position after the chunk, 0 where it has nothing to append."""
        appends = chunk.appends
        if not appends:
            return 0
        named = {append.principal_id for append in appends} - self._members
        if named:
            ids = {row.resource: self._people.id_of(row.resource) for row in chunk.rows}
            mine = {name: each for name, each in ids.items() if each in named}
            kept = self._log.add_people(self._source.workspace_id, mine)
            self._members.update(kept.values())
            if kept != mine:
                # Another import met them first: what was decided names people whom nobody will find again.
                self._people.learn(kept)
                raise VersionConflict
        position = self._log.append_chunk(appends)
        failpoint("import.after_chunk")
        return position

    def _reload(self, *chunks: Sequence[TicketRow]) -> None:
        task_ids = {row.case: self._history.task_id(row.case) for rows in chunks for row in rows}
        self._history.reload(*self._log.streams(task_ids))
        self._history.learn_openness(self._log.openness(self._source.workspace_id, self._history.projects))

    def _count(self, chunk: Chunk) -> None:
        self.activities += chunk.activities
        self.cases.update(decided.row.case for decided in chunk.decided)
        self.rejected.extend(chunk.rejected)
        self.events += sum(len(append.events) for append in chunk.appends)
        self.rows_before += sum(decided.append is None for decided in chunk.decided)
        self._done += len(chunk.rows)
        if self._on_chunk:
            self._on_chunk(self._done, self.position)
