"""`taskmaster verify --read-models`: is every read model what the log says?

Each is built again from the log up to the position that it reflects, beside the one that serves, and compared with it row by
row and key by key. For Postgres that happens inside one transaction, on one snapshot, in temporary tables: workers and readers
are not held up, nothing is left behind, and it takes as long as a rebuild. For Redis the second build takes memory for as long.
A read model with parked or held events, or one that is being rebuilt, is not compared, and that is said.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import redis
from psycopg.sql import SQL, Identifier

from infrastructure.log.rows import Record
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.checkpoint_rows import read_checkpoints
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.hot_store import HotStore, parked_as
from infrastructure.read_models.table_store import TableProjection, TableStore
from infrastructure.servers.postgres import connect_sync, log_schema, models_schema
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from infrastructure.settings import Settings
from projections import DOCUMENTS, HOT, TABLES, layouts
from projections.engine.changes import ChangeReader, ForeignEvent
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Hold, Incomplete, Moved
from projections.engine.projector import Projector

BATCH = 1_000
KEYS_A_CALL = 500
# Far from the numbers of real generations, which go up by one.
GENERATION = 1_000_000_007
ROUNDS = 20
Connection = psycopg.Connection[Any]


class ReadModelFinding(msgspec.Struct, frozen=True):
    """What became of comparing one read model, as it was at `position`: how many rows or keys differ, which one is an example,
    or why it was not compared."""

    name: str
    position: int | None
    differing: int = 0
    example: str | None = None
    not_compared: str | None = None


def verify_read_models(settings: Settings) -> list[ReadModelFinding]:
    """Compare every read model with what the log makes of it; raises psycopg.OperationalError where Postgres is away."""
    source = PostgresLogSource(settings.database_url, settings.log_name, snapshots=False)
    try:
        return [*_verify_tables(settings, source), _verify_hot(settings, source)]
    finally:
        source.close()


class _Held(Reconnecting):
    """The connection whose transaction holds the snapshot, for a store that asks for its connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__("", "", "")
        self._held = connection

    def get(self) -> Connection:
        return self._held


def _verify_tables(settings: Settings, source: PostgresLogSource) -> Iterator[ReadModelFinding]:
    for projection in TABLES:
        with connect_sync(settings.database_url, log_schema(settings.log_name), "taskmaster verify") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction(force_rollback=True):
                yield _verify_projection(connection, projection, models_schema(settings.log_name), source)


def _verify_projection(
    connection: Connection, projection: TableProjection, serving: str, source: PostgresLogSource
) -> ReadModelFinding:
    found = read_checkpoints(connection, [projection.name])
    if why := _not_comparable(found, source):
        return ReadModelFinding(projection.name, found[0].position if found else None, not_compared=why)
    served = found[0]
    _make_beside(connection, projection, serving)
    store = TableStore(_Held(connection), [projection])
    built = _build(store, Projector(store, ChangeReader(_UpTo(source, served.position), DOCUMENTS)), connection)
    if built < served.position:
        return ReadModelFinding(projection.name, served.position, not_compared=f"the log cannot be read beyond {built}")
    differing, example = 0, None
    for table in projection.tables:
        number, key = _difference(connection, serving, table)
        differing += number
        example = example or (f"{table} {key}" if key else None)
    return ReadModelFinding(projection.name, served.position, differing, example)


def _not_comparable(found: Sequence[Checkpoint], source: PostgresLogSource) -> str | None:
    if not found:
        return "it has no checkpoint"
    checkpoint = found[0]
    if checkpoint.identity != source.identity():
        return "it reflects another log or epoch, and will be rebuilt"
    if checkpoint.parked:
        return f"events of {len(checkpoint.parked)} tasks are parked"
    if source.find_last_erasure() > checkpoint.position:
        return "payloads were erased since, and it has not been redacted yet"
    if checkpoint.position and checkpoint.leaf_hash and source.hash_at(checkpoint.position) != checkpoint.leaf_hash:
        return "it reflects another history, and will be rebuilt"
    return None


def _make_beside(connection: Connection, projection: TableProjection, serving: str) -> None:
    """Temporary tables of the same names: unqualified names mean them from here on."""
    for table in (*projection.tables, "checkpoints", "parked"):
        statement = SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING ALL) ON COMMIT DROP")
        connection.execute(statement.format(Identifier(table), Identifier(serving, table)))
    connection.execute(
        "INSERT INTO checkpoints (projection, layout, log_id, epoch) SELECT %s, %s, log_id, epoch FROM log",
        (projection.name, layouts()[projection.name]),
    )


class _UpTo:
    """The log as it was at a position: `until` bounds what is shown of it."""

    def __init__(self, source: PostgresLogSource, until: int = 0) -> None:
        self._source = source
        self.until = until
        self.documents_at = source.documents_at
        self.stream_until = source.stream_until
        self.identity = source.identity
        self.hash_at = source.hash_at

    @property
    def last_erasure(self) -> int:
        """See `LogSource.last_erasure`."""
        return self._source.last_erasure

    def events_after(self, position: int, limit: int) -> list[Record | ForeignEvent]:
        """See `LogSource.events_after`."""
        return [record for record in self._source.events_after(position, limit) if record.position <= self.until]

    def head(self) -> int:
        """See `LogSource.head`."""
        return min(self.until, self._source.head())


def _build(store: TableStore | HotStore, projector: Projector, connection: Connection | None = None) -> int:
    """Advance to where the log that the projector reads ends, or cannot be read on; returns the position."""
    with suppress(Hold):
        while projector.advance(BATCH):
            if connection:
                # A batch limits how long its transaction may idle; this one goes on.
                connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    return store.checkpoints()[0].position


_EITHER_WAY = """
WITH served AS (SELECT to_jsonb(t) AS row FROM {served} t), built AS (SELECT to_jsonb(t) AS row FROM {built} t),
     differing AS ((TABLE served EXCEPT ALL TABLE built) UNION ALL (TABLE built EXCEPT ALL TABLE served))
SELECT count(DISTINCT key), min(key)
FROM differing, LATERAL (SELECT string_agg(name || ' ' || (row ->> name), ', ' ORDER BY name) AS key
                         FROM unnest(ARRAY['position', 'task_id', 'stream_id', 'version', 'workspace_id', 'day']) name
                         WHERE row ? name AND (name <> 'position' OR NOT row ? 'version')) k
"""


def _difference(connection: Connection, serving: str, table: str) -> tuple[int, str | None]:
    """How many rows are there only once, and the key of one: never its contents."""
    statement = SQL(_EITHER_WAY).format(served=Identifier(serving, table), built=Identifier("pg_temp", table))
    row = connection.execute(statement).fetchone()
    return (row[0], row[1]) if row else (0, None)


def _verify_hot(settings: Settings, source: PostgresLogSource) -> ReadModelFinding:
    if not settings.redis_url:
        return ReadModelFinding(HOT, None, not_compared="Redis is away")
    client = sync_client(settings.redis_url, READ_MODELS, timeout=30.0)
    connection = Reconnecting(settings.database_url, log_schema(settings.log_name), "taskmaster verify")
    try:
        return _compare_hot(client, connection, settings.log_name, source)
    except (Incomplete, Moved):
        return ReadModelFinding(HOT, None, not_compared="it is being rebuilt")
    except redis.RedisError:
        return ReadModelFinding(HOT, None, not_compared="Redis is away")
    finally:
        _forget(client, connection, settings.log_name)
        connection.close()
        client.close()


def _compare_hot(client: redis.Redis, connection: Reconnecting, log_name: str, source: PostgresLogSource) -> ReadModelFinding:
    serving, beside = HotStore(connection, client, log_name), HotStore(connection, client, log_name, GENERATION)
    served = serving.checkpoints()[0]
    if why := _not_comparable([served], source):
        return ReadModelFinding(HOT, served.position, not_compared=why)
    _forget(client, connection, log_name)
    beside.begin(source.identity())
    bounded = _UpTo(source)
    projector = Projector(beside, ChangeReader(bounded, DOCUMENTS))
    ours, theirs = hot_keys(log_name, GENERATION).prefix, hot_keys(log_name, served.generation).prefix
    suspects: set[str] | None = None
    done = 0
    for _ in range(ROUNDS):
        bounded.until = serving.checkpoints()[0].position
        done = _build(beside, projector)
        before = serving.checkpoints()[0].position
        found = suspects if suspects is not None else {*_names(client, ours), *_names(client, theirs)}
        suspects = {name for name in found if _value(client, ours + name) != _value(client, theirs + name)}
        # What differed while the one that serves moved on is looked at again, until it stood still for as long as that took.
        if not suspects or (before == done and serving.checkpoints()[0].position == before):
            break
    else:
        why = f"{len(suspects or ())} keys were written faster than they could be compared: ask again when less is written"
        return ReadModelFinding(HOT, done, not_compared=why)
    example = next(iter(sorted(suspects or ())), None)
    return ReadModelFinding(HOT, done, len(suspects or ()), example)


def _names(client: redis.Redis, prefix: str) -> Iterator[str]:
    """A generation's keys without the pages that are made of the others when they are asked for, and without its checkpoint."""
    for name in client.scan_iter(match=f"{prefix}*", count=1000):
        rest = name.decode()[len(prefix) :]
        if rest != "checkpoint" and not rest.startswith("p:"):
            yield rest


def _value(client: Any, key: str) -> object:
    match client.type(key):
        case b"hash":
            return client.hgetall(key)
        case b"zset":
            return client.zrange(key, 0, -1, withscores=True)
        case b"string":
            return client.get(key)
        case other:
            return other


def _forget(client: redis.Redis, connection: Reconnecting, log_name: str) -> None:
    """Remove the second build, also one that a killed verification has left."""
    connection.get().execute("DELETE FROM parked WHERE projection = %s", (parked_as(GENERATION),))
    try:
        names = list(client.scan_iter(match=f"{hot_keys(log_name, GENERATION).prefix}*", count=1000))
        for start in range(0, len(names), KEYS_A_CALL):
            client.unlink(*names[start : start + KEYS_A_CALL])
    except redis.RedisError:
        return
