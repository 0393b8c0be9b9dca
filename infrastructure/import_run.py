"""One run of one import: chunk after chunk into the log, from where an earlier run was stopped.

A chunk is one transaction with an idempotency record of its own. After a kill the import goes on behind the
last recorded chunk, with the tasks as the log has them; a row whose command is in the log is never appended
again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

from application.ports import Appended, IdempotencyMismatch, LogUnavailable, VersionConflict
from application.ticket_import import Chunk, ImportSource, TicketHistory, chunk_append, chunks_of
from application.ticket_mapping import TicketMapping
from application.ticket_rows import Rejection, TicketRow
from infrastructure.failpoints import failpoint
from infrastructure.import_log import ImportLog
from infrastructure.settings import ConfigurationError

MOST_ATTEMPTS: Final = 10

OnChunk = Callable[[int, int], None]
"""Told, after every chunk, how many rows are done and the log's position then (0 where nothing was
written).
"""

_OTHER_RELEASE: Final = "this import was begun by a release that reads the file differently; finish it with that one"


class ImportRun:
    """Decides and appends the rows. The counts are of what was done so far."""

    def __init__(
        self,
        log: ImportLog,
        source: ImportSource,
        mapping: TicketMapping,
        rows: Sequence[TicketRow],
        on_chunk: OnChunk,
    ) -> None:
        self._log = log
        self._source = source
        self._history = TicketHistory(source, mapping)
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
        first = self._skip_recorded()
        self._reload(*self._chunks[first:])
        for number in range(first, len(self._chunks)):
            self._count(self._decide(number), before=False)

    def append(self) -> None:
        """Append what is not in the log yet; while one chunk is under way the next is decided."""
        first = self._skip_recorded()
        if first == len(self._chunks):
            return
        if first:
            self._reload(*self._chunks[first:])
        with ThreadPoolExecutor(1, "import") as sender:
            chunk: Chunk | None = self._decide(first)
            while chunk is not None:
                chunk = self._append_one(sender, chunk)

    def _append_one(self, sender: ThreadPoolExecutor, chunk: Chunk) -> Chunk | None:
        """Append the chunk, and return the decided next one if there is one."""
        for _ in range(MOST_ATTEMPTS):
            sending = sender.submit(self._send, chunk)
            following = self._next(chunk)
            ahead = following.rows if following else ()
            try:
                answer = sending.result()
            except VersionConflict:
                self._reload(chunk.rows, ahead)
                chunk = self._decide(chunk.number)
                continue
            self.position = answer.position
            self._count(chunk, before=answer.replayed)
            if answer.replayed and following:
                # Another run may have appended it: what that one decided is in the log, not in this memory.
                self._reload(chunk.rows, ahead)
                following = self._decide(following.number)
            return following
        raise LogUnavailable("other writers keep changing the imported tasks")

    def _skip_recorded(self) -> int:
        """Fold the chunks that are in the log already; returns the number of the first that is not."""
        keys = [chunk_append(self._source, Chunk(n, rows, (), ())) for n, rows in enumerate(self._chunks)]
        try:
            first = next((n + 1 for n in reversed(range(len(keys))) if self._log.stored_chunk(keys[n])), 0)
        except IdempotencyMismatch:
            raise ConfigurationError(_OTHER_RELEASE) from None
        for number in range(first):
            self._count(self._decide(number), before=True)
        return first

    def _decide(self, number: int) -> Chunk:
        return self._history.decide_chunk(number, self._chunks[number])

    def _next(self, chunk: Chunk) -> Chunk | None:
        number = chunk.number + 1
        return self._decide(number) if number < len(self._chunks) else None

    def _send(self, chunk: Chunk) -> Appended:
        appends = chunk.appends
        named = {append.principal_id for append in appends} - self._members
        if named:
            resources = {self._history.principal_id(row.resource): row.resource for row in chunk.rows}
            self._log.add_members(self._source.workspace_id, {each: resources[each] for each in named})
            self._members |= named
        try:
            answer = self._log.append_chunk(appends, chunk_append(self._source, chunk))
        except IdempotencyMismatch:
            raise ConfigurationError(_OTHER_RELEASE) from None
        failpoint("import.after_chunk")
        return answer

    def _reload(self, *chunks: Sequence[TicketRow]) -> None:
        task_ids = {row.case: self._history.task_id(row.case) for rows in chunks for row in rows}
        self._history.reload(*self._log.streams(task_ids, self._source.import_id))

    def _count(self, chunk: Chunk, *, before: bool) -> None:
        self.activities += chunk.activities
        self.cases.update(decided.row.case for decided in chunk.decided)
        self.rejected.extend(chunk.rejected)
        if before:
            self.rows_before += len(chunk.decided)
        else:
            self.events += sum(len(append.events) for append in chunk.appends)
            self.rows_before += sum(decided.append is None for decided in chunk.decided)
        self._done += len(chunk.rows)
        self._on_chunk(self._done, 0 if before else self.position)
