"""Read model `hot_tasks` (Redis): every task in full, the first page of every workspace's default list, and its counters.

All keys of one log carry the same hash tag, because one script writes a batch together with the checkpoint. Under the
prefix `tm:{log}:hot-<layouts>:<generation>:` stand

    checkpoint      "<log id> <epoch> <leaf hash> <position>"; while it is missing the read model is being rebuilt, never empty
    t:<ws>:<task>   "<version> <the task's full JSON>"
    r:<ws>          hash task -> JSON line of the list
    o:<ws>          sorted set of the tasks that are not deleted, by the position of their creation
    c:<ws>          hash status -> number of tasks
    p:<ws>          the first page as it is served, made when it is first asked for after a change
    w               hash workspace -> number of all its tasks; its field "" is there from the beginning
    damaged         why this generation has to be built again, if a key of it was lost or is not what it should be

`w` is what tells an empty workspace from one whose keys were lost: rows, order and counters must add up to it. A script that
finds otherwise, or a key of another type, writes nothing but the mark.

A generation is one build of the whole read model; a rebuild writes the next one beside it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from domain.task.aggregate import TASK
from projections.engine.changes import LogIdentity
from projections.task.document import TaskChange, TaskDocument
from projections.task.renderings import rendering

NAME: Final = "hot_tasks"
FOLLOWS: Final = frozenset({TASK.name})
PAGE_SIZE: Final = 20

# Whether a workspace's keys are there and add up: nil if so, else what is wrong. Counters that are not whole numbers, keys of
# another type and missing ones are found before anything is written.
_WHOLE: Final = """
local function wrong(totals, workspace, rows, order, counts)
  local types = {[totals] = 'hash', [rows] = 'hash', [order] = 'zset', [counts] = 'hash'}
  for key, wanted in pairs(types) do
    local found = redis.call('TYPE', key).ok
    if found ~= wanted and found ~= 'none' then return key .. ' is a ' .. found end
  end
  local total = redis.call('HMGET', totals, '', workspace)
  if not total[1] then return totals .. ' is missing' end
  local flat, sum, deleted = redis.call('HGETALL', counts), 0, 0
  for i = 1, #flat, 2 do
    local number = tonumber(flat[i + 1])
    if not number or number < 0 or number ~= math.floor(number) then return counts .. ' holds no number' end
    sum = sum + number
    if flat[i] == 'deleted' then deleted = number end
  end
  if sum ~= tonumber(total[2] or '0') then return counts .. ' does not add up' end
  if redis.call('HLEN', rows) ~= sum - deleted then return rows .. ' does not add up' end
  if redis.call('ZCARD', order) ~= sum - deleted then return order .. ' does not add up' end
  return nil
end
"""

# KEYS: checkpoint, damaged, w, the documents', then rows, order, counts, page of each workspace. ARGV[1] expected checkpoint
# ("" for none), ARGV[2] new one, ARGV[3] number of documents, then they; then for each workspace its name, the change of its
# total, the number of its rows to set, to remove, its counters' changes, and these as flat lists.
#
# The checkpoint is taken away before the first write: whatever ends a script half-way leaves a read model to be rebuilt, never
# one to which the batch is applied once more.
APPLY: Final = (
    _WHOLE
    + """
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] then return found end
local documents = tonumber(ARGV[3])
local k, a = 3 + documents, 3 + documents
while k < #KEYS do
  local why = wrong(KEYS[3], ARGV[a + 1], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3])
  if why then
    redis.call('SET', KEYS[2], why)
    return 'damaged ' .. why
  end
  k, a = k + 4, a + 5 + 3 * tonumber(ARGV[a + 3]) + tonumber(ARGV[a + 4]) + 2 * tonumber(ARGV[a + 5])
end
redis.call('DEL', KEYS[1])
k, a = 3, 3
for i = 1, documents do redis.call('SET', KEYS[k + i], ARGV[a + i]) end
k, a = k + documents, a + documents
while k < #KEYS do
  local rows, order, counts, page = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4]
  k = k + 4
  local set, removed, counted = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  if ARGV[a + 2] ~= '0' then redis.call('HINCRBY', KEYS[3], ARGV[a + 1], ARGV[a + 2]) end
  a = a + 5
  for i = 1, set do
    redis.call('HSET', rows, ARGV[a + 1], ARGV[a + 3])
    redis.call('ZADD', order, ARGV[a + 2], ARGV[a + 1])
    a = a + 3
  end
  for i = 1, removed do
    redis.call('HDEL', rows, ARGV[a + 1])
    redis.call('ZREM', order, ARGV[a + 1])
    a = a + 1
  end
  for i = 1, counted do
    if redis.call('HINCRBY', counts, ARGV[a + 1], ARGV[a + 2]) == 0 then redis.call('HDEL', counts, ARGV[a + 1]) end
    a = a + 2
  end
  redis.call('DEL', page)
end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
"""
)
DAMAGED: Final = b"damaged "
"""How APPLY's answer begins where it has found the read model damaged."""

# KEYS: checkpoint, order, rows, page, w, counts; ARGV[1]: page size, ARGV[2]: workspace. The page is "<score of its last row,
# or -> <JSON array>"; without a second value in the answer, something that it is made from is missing.
READ_PAGE: Final = (
    _WHOLE
    + """
local checkpoint = redis.call('GET', KEYS[1])
if not checkpoint then return false end
if wrong(KEYS[5], ARGV[2], KEYS[3], KEYS[2], KEYS[6]) then return {checkpoint} end
local ids = redis.call('ZREVRANGE', KEYS[2], 0, ARGV[1], 'WITHSCORES')
local size, last, rows = tonumber(ARGV[1]), '-', {}
if #ids > 2 * size then last = ids[2 * size] end
for i = 1, math.min(size, #ids / 2) do rows[i] = ids[2 * i - 1] end
if #rows > 0 then rows = redis.call('HMGET', KEYS[3], unpack(rows)) end
for i = 1, #rows do if not rows[i] then return {checkpoint} end end
local page = last .. ' [' .. table.concat(rows, ',') .. ']'
redis.call('SET', KEYS[4], page)
return {checkpoint, page}
"""
)


class HotKeys:
    """The keys of one generation of one log's hot tasks: all begin with `prefix`."""

    def __init__(self, prefix: str, generation: int) -> None:
        self.generation = generation
        self.prefix = prefix
        self.checkpoint = f"{self.prefix}checkpoint"
        self.damaged = f"{self.prefix}damaged"
        self.totals = f"{self.prefix}w"

    def task(self, workspace: UUID, task: UUID) -> str:
        """A task's full JSON."""
        return f"{self.prefix}t:{workspace.hex}:{task.hex}"

    def rows(self, workspace: UUID) -> str:
        """The workspace's lines."""
        return f"{self.prefix}r:{workspace.hex}"

    def order(self, workspace: UUID) -> str:
        """The workspace's order."""
        return f"{self.prefix}o:{workspace.hex}"

    def counts(self, workspace: UUID) -> str:
        """The workspace's counters."""
        return f"{self.prefix}c:{workspace.hex}"

    def page(self, workspace: UUID) -> str:
        """The workspace's first page."""
        return f"{self.prefix}p:{workspace.hex}"

    def of_page(self, workspace: UUID) -> list[str]:
        """The keys of READ_PAGE."""
        return [
            self.checkpoint,
            self.order(workspace),
            self.rows(workspace),
            self.page(workspace),
            self.totals,
            self.counts(workspace),
        ]


def checkpoint_value(identity: LogIdentity, position: int, leaf_hash: bytes | None) -> bytes:
    """The checkpoint as it stands in Redis; the hash is that of the event at `position`, which tells a restored log."""
    return b"%s%s %d" % (identity_prefix(identity), leaf_hash.hex().encode() if leaf_hash else b"-", position)


def identity_prefix(identity: LogIdentity) -> bytes:
    """How the checkpoints of a log in one epoch begin."""
    return f"{identity.log_id} {identity.epoch} ".encode()


def read_checkpoint(value: bytes) -> tuple[LogIdentity, int, bytes | None]:
    """Log, position and leaf hash of a stored checkpoint; raises ValueError for anything else."""
    log_id, epoch, leaf, position = value.decode().split(" ")
    return LogIdentity(UUID(log_id), int(epoch)), int(position), None if leaf == "-" else bytes.fromhex(leaf)


def checkpoint_position(value: bytes | None) -> int | None:
    """The position in a stored checkpoint; None while the read model is being rebuilt, or where it is no checkpoint."""
    position = value[value.rfind(b" ") + 1 :] if value else b""
    return int(position) if position.isdigit() else None


def write_arguments(keys: HotKeys, expected: bytes, new: bytes, changes: Sequence[TaskChange]) -> tuple[list[str], list[Any]]:
    """The keys and arguments with which APPLY writes `changes` and moves the checkpoint from `expected` to `new`."""
    newest: dict[UUID, TaskDocument] = {}
    counters: dict[UUID, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    created: dict[UUID, int] = defaultdict(int)
    for change in changes:
        newest[change.after.id] = change.after
        counted = counters[change.after.workspace_id]
        if change.before is not None:
            counted[_counted_as(change.before)] -= 1
        else:
            created[change.after.workspace_id] += 1
        counted[_counted_as(change.after)] += 1
    documents = list(newest.values())
    names = [keys.checkpoint, keys.damaged, keys.totals]
    names += [keys.task(document.workspace_id, document.id) for document in documents]
    arguments: list[Any] = [expected, new, len(documents), *map(_stored, documents)]
    by_workspace: dict[UUID, list[TaskDocument]] = defaultdict(list)
    for document in documents:
        by_workspace[document.workspace_id].append(document)
    for workspace, own in by_workspace.items():
        names += [keys.rows(workspace), keys.order(workspace), keys.counts(workspace), keys.page(workspace)]
        shown = [document for document in own if not document.task.deleted]
        gone = [document.id.hex for document in own if document.task.deleted]
        moved = [(status, number) for status, number in counters[workspace].items() if number]
        arguments += [workspace.hex, created[workspace], len(shown), len(gone), len(moved)]
        for document in shown:
            arguments += (document.id.hex, document.created_position, rendering(document).summary)
        arguments += gone
        for status, number in moved:
            arguments += (status, number)
    return names, arguments


def redacted(histories: Sequence[Sequence[TaskChange]]) -> list[TaskChange]:
    """What APPLY has to write so that tasks are shown as these histories tell them now: that moves no counter and no order."""
    return [msgspec.structs.replace(history[-1], before=history[-1].after) for history in histories]


def read_counts(counts: Any, totals: Any) -> dict[str, int] | None:
    """A workspace's counters as they were read, with `w`'s fields "" and the workspace's; None where they do not add up."""
    if not isinstance(counts, dict) or not isinstance(totals, list) or totals[0] is None:
        return None
    try:
        found = {name.decode(): int(number) for name, number in counts.items()}
        return (
            {name: number for name, number in found.items() if number} if sum(found.values()) == int(totals[1] or 0) else None
        )
    except ValueError:
        return None


def _stored(document: TaskDocument) -> bytes:
    return b"%d %s" % (document.version, rendering(document).detail)


def read_task(stored: bytes) -> tuple[int, bytes]:
    """Version and JSON of a stored task."""
    version, _, body = stored.partition(b" ")
    return int(version), body


def _counted_as(document: TaskDocument) -> str:
    return "deleted" if document.task.deleted else document.task.status


class HotPage(msgspec.Struct, frozen=True):
    """The first page of the default list: its JSON array, where it ended (None if there is no more), its position."""

    items: bytes
    last_created_position: int | None
    position: int


def read_page(page: bytes, position: int) -> HotPage:
    """A page as READ_PAGE stored it."""
    space = page.index(b" ")
    last = page[:space]
    return HotPage(page[space + 1 :], None if last == b"-" else int(float(last)), position)
