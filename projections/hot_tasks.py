"""Read model `hot_tasks` (Redis): every task in full, the first page of every workspace's default list, and its counters.

All keys of one log carry the same hash tag, because one script writes a batch together with the checkpoint. Under the
prefix `tm:{log}:hot:<generation>:` stand

    checkpoint      "<log id> <epoch> <leaf hash> <position>"; while it is missing the read model is being rebuilt, never empty
    t:<ws>:<task>   "<version> <the task's full JSON>"
    r:<ws>          hash task -> JSON line of the list
    o:<ws>          sorted set of the tasks that are not deleted, by the position of their creation
    c:<ws>          hash status -> number of tasks
    p:<ws>          the first page as it is served, made when it is first asked for after a change

A generation is one build of the whole read model; a rebuild writes the next one beside it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from projections.changes import Change, LogIdentity
from projections.task_document import TaskDocument
from projections.task_views import detail_json, summary_json

NAME: Final = "hot_tasks"
PAGE_SIZE: Final = 20
COUNTED: Final = ("open", "in_progress", "completed", "cancelled", "deleted")

# KEYS[1] checkpoint; ARGV[1] expected checkpoint ("" for none), ARGV[2] new one, ARGV[3] number of documents, then they;
# then five arguments a workspace: the number of its rows to set, to remove, its counters' changes as flat lists.
APPLY: Final = """
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] then return found end
local documents = tonumber(ARGV[3])
local k, a = 1, 3
for i = 1, documents do redis.call('SET', KEYS[k + i], ARGV[a + i]) end
k, a = k + documents, a + documents
while k < #KEYS do
  local rows, order, counts, page = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4]
  k = k + 4
  local set, removed, counted = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  a = a + 3
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

# KEYS: checkpoint, order, rows, page; ARGV[1]: page size. The page is "<score of its last row, or -> <JSON array>".
READ_PAGE: Final = """
local checkpoint = redis.call('GET', KEYS[1])
if not checkpoint then return false end
local ids = redis.call('ZREVRANGE', KEYS[2], 0, ARGV[1], 'WITHSCORES')
local size, last, rows = tonumber(ARGV[1]), '-', {}
if #ids > 2 * size then last = ids[2 * size] end
for i = 1, math.min(size, #ids / 2) do rows[i] = ids[2 * i - 1] end
if #rows > 0 then rows = redis.call('HMGET', KEYS[3], unpack(rows)) end
local page = last .. ' [' .. table.concat(rows, ',') .. ']'
redis.call('SET', KEYS[4], page)
return {checkpoint, page}
"""


class HotKeys:
    """The keys of one generation of one log's hot tasks."""

    def __init__(self, log_name: str, generation: int) -> None:
        self.generation = generation
        self.prefix = f"tm:{{{log_name}}}:hot:{generation}:"
        self.checkpoint = f"{self.prefix}checkpoint"

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


def generations_pattern(log_name: str) -> str:
    """A glob pattern for the keys of every generation. Names of logs hold no character that patterns give a meaning."""
    return f"tm:{{{log_name}}}:hot:*"


def checkpoint_value(identity: LogIdentity, position: int, leaf_hash: bytes | None) -> bytes:
    """The checkpoint as it stands in Redis; the hash is that of the event at `position`, which tells a restored log."""
    return f"{identity.log_id} {identity.epoch} {leaf_hash.hex() if leaf_hash else '-'} {position}".encode()


def read_checkpoint(value: bytes) -> tuple[LogIdentity, int, bytes | None]:
    """Log, position and leaf hash of a stored checkpoint."""
    log_id, epoch, leaf, position = value.decode().split(" ")
    return LogIdentity(UUID(log_id), int(epoch)), int(position), None if leaf == "-" else bytes.fromhex(leaf)


def checkpoint_position(value: bytes | None) -> int | None:
    """The position in a stored checkpoint; None while the read model is being rebuilt."""
    return int(value[value.rindex(b" ") + 1 :]) if value else None


def write_arguments(keys: HotKeys, expected: bytes, new: bytes, changes: Sequence[Change]) -> tuple[list[str], list[Any]]:
    """The keys and arguments with which APPLY writes `changes` and moves the checkpoint from `expected` to `new`."""
    newest: dict[UUID, TaskDocument] = {}
    counters: dict[UUID, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for change in changes:
        newest[change.after.id] = change.after
        counted = counters[change.after.workspace_id]
        if change.before is not None:
            counted[_counted_as(change.before)] -= 1
        counted[_counted_as(change.after)] += 1
    documents = list(newest.values())
    names = [keys.checkpoint, *(keys.task(document.workspace_id, document.id) for document in documents)]
    arguments: list[Any] = [expected, new, len(documents), *map(_stored, documents)]
    by_workspace: dict[UUID, list[TaskDocument]] = defaultdict(list)
    for document in documents:
        by_workspace[document.workspace_id].append(document)
    for workspace, own in by_workspace.items():
        names += [keys.rows(workspace), keys.order(workspace), keys.counts(workspace), keys.page(workspace)]
        shown = [document for document in own if not document.task.deleted]
        gone = [document.id.hex for document in own if document.task.deleted]
        moved = [(status, number) for status, number in counters[workspace].items() if number]
        arguments += [len(shown), len(gone), len(moved)]
        for document in shown:
            arguments += (document.id.hex, document.created_position, summary_json(document))
        arguments += gone
        for status, number in moved:
            arguments += (status, number)
    return names, arguments


def _stored(document: TaskDocument) -> bytes:
    return b"%d %s" % (document.version, detail_json(document))


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
