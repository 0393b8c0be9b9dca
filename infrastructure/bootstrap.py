"""Opens every resource of an API process once, and closes them in the opposite order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

import msgspec
import redis.asyncio

from application.batches import BatchHandler
from application.checks import NothingToCheck
from application.command_handler import CommandHandler
from application.first_project import FirstProjects
from application.identity.accounts import Accounts, Lifetimes
from application.task_assignees import AssigneesAreMembers
from application.turns import Turns
from domain.project.aggregate import PROJECT
from domain.project.commands import ProjectCommand
from domain.project.events import ProjectEvent
from domain.project.rules import Project
from domain.task.aggregate import TASK
from domain.task.commands import TaskCommand
from domain.task.events import TaskEvent
from domain.task.rules import Task
from infrastructure.identity.accounts_store import PostgresAccountStore
from infrastructure.identity.members import members_of
from infrastructure.identity.passwords import PasswordHasher
from infrastructure.identity.revocations import RevocationWatch
from infrastructure.identity.tokens import KeyRing, TokenIssuer, TokenVerifier
from infrastructure.limits.batch_turns import BatchTurns
from infrastructure.limits.budgets import budgets_of, processes_of
from infrastructure.limits.client_address import ClientAddresses
from infrastructure.limits.limiter import Limiter
from infrastructure.limits.limits import Limits
from infrastructure.log.boundary_reading import BoundaryMemory
from infrastructure.log.event_store import Memory, PostgresEventStore
from infrastructure.log.fair_queue import QueueBounds
from infrastructure.log.head_publisher import HeadPublisher
from infrastructure.log.stream_memory import StreamMemory
from infrastructure.log.watch import LogWatch
from infrastructure.processes.draining import Draining
from infrastructure.read_models.applied_positions import AppliedPositions
from infrastructure.read_models.change_watch import ChangeWatch
from infrastructure.read_models.hot_reader import HotReader
from infrastructure.read_models.task_reads import TaskReads
from infrastructure.servers.postgres import CONTROL_SCHEMA, AsyncPool, conninfo, log_schema, pool
from infrastructure.servers.redis_client import BROKER, LIMITS, READ_MODELS, async_client
from infrastructure.settings import Settings

TaskHandler = CommandHandler[Task, TaskEvent, TaskCommand]
ProjectHandler = CommandHandler[Project, ProjectEvent, ProjectCommand]
TaskBatches = BatchHandler[Task, TaskEvent, TaskCommand]

READ_CONNECTIONS = 8
ACCOUNT_CONNECTIONS = 4


class LogResources(msgspec.Struct, kw_only=True, eq=False):
    """What serves one log: its store, its command handlers, its reads."""

    name: str
    store: PostgresEventStore
    handler: TaskHandler
    projects: ProjectHandler
    first_projects: FirstProjects
    batches: TaskBatches
    batch_turns: BatchTurns
    request_secret: bytes
    reads: TaskReads
    heads: HeadPublisher
    positions: AppliedPositions
    news: ChangeWatch


class Resources(msgspec.Struct, kw_only=True, eq=False):
    """Everything that the routes use. Closed together with the process."""

    settings: Settings
    logs: dict[str, LogResources]
    accounts: Accounts
    verifier: TokenVerifier
    revocations: RevocationWatch
    accounts_pool: AsyncPool
    limits: Limits
    addresses: ClientAddresses
    draining: Draining


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open what an API process needs; raises where Postgres is away. Redis may be away: reads turn to Postgres."""
    async with AsyncExitStack() as stack:
        accounts_pool = await _open_pool(stack, settings, CONTROL_SCHEMA, ACCOUNT_CONNECTIONS)
        store = PostgresAccountStore(accounts_pool)
        draining = Draining(settings.drain_file)
        draining.start()
        stack.push_async_callback(draining.stop)
        log = await _open_log(stack, settings, settings.log_name, accounts_pool, draining)
        keys = KeyRing(settings.secret_key, settings.previous_secret_key)
        verifier = TokenVerifier(keys)
        revocations = RevocationWatch(
            conninfo(settings.database_url, CONTROL_SCHEMA, "taskmaster revocations"),
            verifier,
            settings.access_token_seconds,
        )
        await revocations.start()
        stack.push_async_callback(revocations.stop)
        passwords = PasswordHasher()
        stack.callback(passwords.close)
        accounts = Accounts(
            store,
            passwords,
            TokenIssuer(keys),
            log=settings.log_name,
            on_registered=log.first_projects.make,
            on_revoked=revocations.revoked,
            lifetimes=Lifetimes(
                timedelta(seconds=settings.access_token_seconds),
                timedelta(seconds=settings.refresh_token_seconds),
            ),
        )
        yield Resources(
            settings=settings,
            logs={log.name: log},
            accounts=accounts,
            verifier=verifier,
            revocations=revocations,
            accounts_pool=accounts_pool,
            limits=await _open_limits(stack, settings),
            addresses=ClientAddresses(settings),
            draining=draining,
        )


async def _open_limits(stack: AsyncExitStack, settings: Settings) -> Limits:
    client = await _open_redis(stack, settings, LIMITS, None)
    limiter = Limiter(client, processes_of(settings))
    stack.push_async_callback(limiter.close)
    await limiter.start()
    return Limits(limiter, budgets_of(settings), settings.secret_key)


async def _open_log(
    stack: AsyncExitStack, settings: Settings, name: str, accounts_pool: AsyncPool, draining: Draining
) -> LogResources:
    schema = log_schema(name)
    reads_pool = await _open_pool(stack, settings, schema, READ_CONNECTIONS)
    # Without a time-out of its own: the reader's patience is the better one.
    hot_client = await _open_redis(stack, settings, READ_MODELS, None)
    hints = await _open_redis(stack, settings, BROKER, 1.0)
    heads = HeadPublisher(hints, name)
    stack.push_async_callback(heads.close)
    watch = LogWatch(conninfo(settings.database_url, schema, "taskmaster log watch"))
    hot = HotReader(hot_client, reads_pool, name, watch)
    watch.on_look = hot.adopt
    await hot.find_generation()
    stack.push_async_callback(hot.close)
    await watch.start()
    stack.push_async_callback(watch.stop)
    positions = AppliedPositions(hints, reads_pool, name, hot.position)
    positions.start()
    stack.push_async_callback(positions.close)
    store = PostgresEventStore(
        settings.database_url,
        name,
        reads_pool,
        heads.announce,
        watch.doubt,
        Memory(StreamMemory(settings.remembered_stream_bytes), BoundaryMemory(settings.remembered_boundary_bytes)),
        QueueBounds(settings.max_waiting_appends, -(-settings.max_waiting_appends // 4), settings.max_waiting_append_bytes),
    )
    watch.on_erasure = store.forget
    await store.start()
    stack.push_async_callback(store.stop)

    news = ChangeWatch(reads_pool, positions, draining)
    stack.push_async_callback(news.close)

    async def members(workspace_id: UUID) -> frozenset[UUID]:
        async with accounts_pool.connection() as connection:
            return await members_of(connection, workspace_id)

    turns, first_projects = Turns(), FirstProjects(store)
    handler = CommandHandler(TASK, store, AssigneesAreMembers(members), turns, remedy=first_projects)
    return LogResources(
        name=name,
        store=store,
        handler=handler,
        projects=CommandHandler(PROJECT, store, NothingToCheck(), turns),
        first_projects=first_projects,
        batches=BatchHandler(store, handler, store.has_company),
        batch_turns=BatchTurns(settings.max_waiting_batch_bytes),
        request_secret=await _request_secret(reads_pool),
        reads=TaskReads(hot, reads_pool, positions, watch),
        heads=heads,
        positions=positions,
        news=news,
    )


async def _open_pool(stack: AsyncExitStack, settings: Settings, schema: str, size: int) -> AsyncPool:
    opened = pool(settings.database_url, schema, size, "taskmaster api")
    await opened.open(wait=True, timeout=10)
    stack.push_async_callback(opened.close)
    return opened


async def _open_redis(stack: AsyncExitStack, settings: Settings, database: int, seconds: float | None) -> redis.asyncio.Redis:
    client = async_client(settings.redis_url, database, seconds)
    stack.push_async_callback(client.aclose)
    return client


async def _request_secret(log_pool: AsyncPool) -> bytes:
    async with log_pool.connection() as connection:
        cursor = await connection.execute("SELECT request_secret FROM log")
        row = await cursor.fetchone()
    if row is None:
        raise RuntimeError("the table log is empty")
    return bytes(row[0])
