"""The checks of the fault tests notice the faults that they are there for: each protection is taken away once."""

import asyncio
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
import redis

from infrastructure.servers.postgres import models_schema
from tests.faults.killing import kill_everywhere
from tests.faults.laboratory import Laboratory
from tests.faults.log_check import log_violations
from tests.faults.losses import without_read_model, without_relay
from tests.faults.read_check import read_violations
from tests.faults.trial import Trial
from tests.faults.view_check import view_violations
from tests.faults.zombies import wake_zombies

SEED = 7


def noticed(violations: list[str], word: str) -> bool:
    return any(word in violation for violation in violations)


def test_commands_that_are_repeated_without_their_keys_are_found_doubled(laboratory: Laboratory) -> None:
    points = ("append.after_commit", "append.before_wake_up")
    verdict = asyncio.run(kill_everywhere(laboratory, SEED, kills=6, only=points, with_key=False, only_create=True))
    assert noticed(verdict.violations, "doubled")


def test_a_checkpoint_that_is_committed_before_its_batch_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(kill_everywhere(laboratory, SEED, kills=6, only=("tables.inside",), sabotage=("checkpoint first",)))
    assert noticed(verdict.violations, "feed:")


def test_a_script_that_does_not_compare_the_checkpoint_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(wake_zombies(laboratory, SEED, ("hot.before_apply",), sabotage=("no comparison",)))
    # Seen by a client while it lasted, or found in Redis afterwards.
    assert noticed(verdict.violations, "counts at") or noticed(verdict.violations, "Redis counters")


def test_workers_that_do_not_sweep_are_found_behind(laboratory: Laboratory) -> None:
    verdict = asyncio.run(without_relay(laboratory, SEED, sabotage=("no sweep",)))
    assert noticed(verdict.violations, "not caught up")


def test_a_missing_read_model_that_is_served_as_empty_is_found_out(laboratory: Laboratory) -> None:
    verdict = asyncio.run(without_read_model(laboratory, SEED, sabotage=("missing is empty",)))
    assert noticed(verdict.violations, "list at")


@pytest.fixture(scope="module")
def finished(laboratory: Laboratory) -> Iterator[Trial]:
    """A trial without any fault whose data are still there."""

    async def run() -> Trial:
        async with Trial(laboratory, "without faults", SEED) as trial:
            await trial.serve()
            writers = trial.load(2, readers=0.01)
            await trial.issue(120, seconds=30)
            await trial.finish(writers)
            await trial.caught_up()
            (await trial.judge()).require()
            return trial

    return asyncio.run(run())


MISDEEDS = {
    "an event that is gone": ("DELETE FROM events WHERE notification_id = 9", "positions are not"),
    "an acknowledged command that is gone": ("DELETE FROM events WHERE notification_id >= 9", "is lost"),
    "a command that is there twice": (
        "INSERT INTO events SELECT (jsonb_populate_record(e, jsonb_build_object('originator_id', gen_random_uuid(), "
        "'command_id', gen_random_uuid(), 'notification_id', (SELECT max(notification_id) + 1 FROM events)))).* "
        "FROM events e WHERE notification_id = (SELECT min(notification_id) FROM events WHERE topic = 'task.created')",
        "doubled",
    ),
    "versions out of order": (
        "UPDATE events SET originator_version = 77 WHERE notification_id = 5",
        "in the order of positions",
    ),
    "another receipt": ("UPDATE idempotency SET receipt = receipt || ' '", "the receipt kept"),
    "a stale row": (
        "UPDATE task_list SET detail = convert_to(replace(convert_from(detail, 'UTF8'), 'c0', 'x0'), 'UTF8')",
        "detail",
    ),
    "a row too few": (
        "DELETE FROM task_list WHERE created_position = (SELECT min(created_position) FROM task_list)",
        "missing",
    ),
    "a day counted twice": ("UPDATE flow_daily SET created = created + 1", "flow_daily"),
    "a history entry too few": ("DELETE FROM feed WHERE position = 4", "feed"),
    "a completion too many": (
        "INSERT INTO flow_completions SELECT gen_random_uuid(), workspace_id, project_id, now(), 1 FROM task_list LIMIT 1",
        "flow",
    ),
    "a parked event": ("INSERT INTO parked SELECT 'flow', 1, task_id, 1, 'x' FROM task_list LIMIT 1", "parked"),
    "a checkpoint behind": ("UPDATE checkpoints SET position = position - 1", "stands at"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_the_checker_notices(finished: Trial, misdeed: str) -> None:
    statement, word = MISDEEDS[misdeed]
    with psycopg.connect(finished.settings.database_url) as connection:
        connection.execute(f"SET search_path = log_main, {models_schema('main')}, taskmaster")
        name = psycopg.conninfo.conninfo_to_dict(finished.settings.database_url)["dbname"]
        copy = f"{name}_copy"
    with psycopg.connect(finished.settings.database_url.replace(f"/{name}?", "/postgres?"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {copy}")
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")
    settings = msgspec.structs.replace(finished.settings, database_url=finished.settings.database_url.replace(name, copy))
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"SET search_path = log_main, {models_schema('main')}, taskmaster")
        connection.execute(statement)
    assert noticed(log_violations(settings, finished.clients) + view_violations(settings), word)


REDIS_MISDEEDS = {
    "a counter that is off": (lambda client, key: client.hincrby(key("c:"), "open", 1), "counters"),
    "a row too few": (lambda client, key: client.hdel(key("r:"), client.hkeys(key("r:"))[0]), "rows"),
    "an order too long": (lambda client, key: client.zadd(key("o:"), {"x": 1}), "order"),
    "a task too few": (lambda client, key: client.delete(key("t:")), "missing"),
    "a checkpoint that is gone": (lambda client, key: client.delete(key("checkpoint")), "does not hold"),
}


@pytest.mark.parametrize("misdeed", REDIS_MISDEEDS)
def test_the_checker_notices_in_redis(finished: Trial, misdeed: str) -> None:
    act, word = REDIS_MISDEEDS[misdeed]
    with redis.Redis.from_url(finished.settings.redis_url) as client:
        kept = {name: client.dump(name) for name in client.scan_iter(match="tm:*hot-*")}
        act(client, lambda part: sorted(name for name in kept if b":" + part.encode() in name)[0])
        try:
            assert noticed(view_violations(finished.settings), word)
        finally:
            for name, dumped in kept.items():
                client.restore(name, 0, dumped, replace=True)
            for name in set(client.scan_iter(match="tm:*hot-*")) - set(kept):
                client.delete(name)


@pytest.mark.parametrize("change", [{"body": {"items": []}}, {"least": 10**9}, {"position": 10**9}])
def test_the_checker_notices_an_answer_that_is_not_true(finished: Trial, change: dict[str, object]) -> None:
    client = finished.clients[0]
    true = max((seen for seen in client.seen if seen.kind == "list"), key=lambda seen: seen.position)
    client.seen.append(msgspec.structs.replace(true, **change))
    try:
        assert read_violations(finished.settings, finished.clients)
    finally:
        client.seen.pop()
