"""What answers and refusals say about the log: positions of 404s, a newer release's events and tables, a Redis that evicts."""

from uuid import uuid4

import pytest
import redis

from domain.task.events import TaskCreated
from infrastructure.embedded.services import LocalServices
from infrastructure.servers.postgres import models_schema
from tests.api_world import World, problem


def test_a_404_carries_the_position_that_it_was_decided_at(world: World) -> None:
    world.api.catch_up()
    before = world.api.head()
    task = world.ada.task()
    for path in (f"/tasks/{task}", f"/tasks/{task}/history"):
        refused = world.ada.get(path)
        problem(refused, 404, "task_not_found")
        assert refused.headers["x-position"] == str(before)
    world.api.catch_up()
    refused = world.eve.get(f"/tasks/{task}?min_position={world.api.head()}")
    problem(refused, 404, "task_not_found")
    assert int(refused.headers["x-position"]) == world.api.head()


def test_a_read_that_is_not_there_yet_says_how_far_it_is(world: World) -> None:
    world.api.catch_up()
    before = world.api.head()
    task = world.ada.task()
    refused = world.ada.get(f"/tasks/{task}?min_position={before + 1}", headers={"Prefer": "wait=0"})
    problem(refused, 503, "not_yet_applied")
    assert refused.headers["x-position"] == str(before)
    assert int(refused.headers["retry-after"]) >= 1


CHANGES = {
    "a type": "topic = 'task.teleported'",
    "a schema version": "schema_version = 99",
    "a value": """state = '{"type":"task.created","title":"x","priority":"galactic"}'""",
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_event_of_a_newer_release_is_an_answer_for_later(world: World, change: str) -> None:
    task = world.ada.record(TaskCreated("A"))
    world.api.execute(f"UPDATE log_main.events SET {CHANGES[change]} WHERE originator_id = %s", task)
    for refused in (
        world.ada.get(f"/tasks/{task}?version=1"),
        world.ada.post(f"/tasks/{task}/rename", {"title": "B"}),
        world.ada.patch(f"/tasks/{task}", {"title": "B"}),
    ):
        problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    world.api.execute(
        """UPDATE log_main.events SET topic = 'task.created', schema_version = 1, state = '{"type":"task.created","title":"x"}'
        WHERE originator_id = %s""",
        task,
    )


def test_tables_of_another_release_are_an_answer_for_later(world: World) -> None:
    world.ada.task()
    world.api.catch_up()
    world.api.execute(f"ALTER TABLE {models_schema('main')}.task_list RENAME COLUMN summary TO old_summary")
    world.api.execute(f"ALTER TABLE {models_schema('main')}.feed RENAME COLUMN entry TO old_entry")
    answers = [world.ada.get(path) for path in ("/tasks?status=open", "/changes")]
    world.api.execute(f"ALTER TABLE {models_schema('main')}.task_list RENAME COLUMN old_summary TO summary")
    world.api.execute(f"ALTER TABLE {models_schema('main')}.feed RENAME COLUMN old_entry TO entry")
    for refused in answers:
        problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1


def test_a_stream_of_another_application_is_no_task(world: World) -> None:
    stream = world.ada.record(TaskCreated("A"))
    world.api.execute("UPDATE log_main.events SET topic = 'bank:Account.Opened' WHERE originator_id = %s", stream)
    mine = world.ada.task()
    world.api.catch_up()
    head = world.api.head()
    problem(world.ada.get(f"/tasks/{stream}?min_position={head}"), 404)
    problem(world.ada.get(f"/tasks/{stream}?version=1"), 404)
    problem(world.ada.post(f"/tasks/{stream}/complete", {}), 404)
    assert world.ada.get(f"/tasks/{mine}?min_position={head}").status_code == 200
    assert world.ada.get(f"/changes?min_position={head}").headers["x-position"] == str(head)
    problem(world.ada.get(f"/tasks/{uuid4()}"), 404)


def test_a_redis_that_may_evict_makes_the_process_not_ready(world: World, services: LocalServices) -> None:
    assert world.api.request("GET", "/readyz").status_code == 200
    with redis.Redis.from_url(services.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            world.api.log.reads._hot._policy_known_until = 0.0
            refused = world.api.request("GET", "/readyz")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert (refused.status_code, refused.json()["status"]) == (503, "unavailable")
