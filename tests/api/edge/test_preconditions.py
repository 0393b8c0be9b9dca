"""ETag, If-Match and If-None-Match: a command is refused only if what it changes was changed meanwhile."""

import pytest

from domain.task.events import TaskCreated, TaskPrioritySet, TaskRenamed
from tests.api_world import World, problem


def seen(version: int, strict: bool = False) -> dict[str, str]:
    return {"If-Match": f'"v{version}"'} | ({"Prefer": "handling=strict"} if strict else {})


def test_the_version_that_is_current_is_accepted(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers=seen(1))
    assert (answer.status_code, answer.headers["etag"]) == (200, '"v2"')


def test_a_change_of_another_field_since_does_not_matter(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskPrioritySet("high"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers=seen(1))
    assert (answer.status_code, answer.json()["version"]) == (200, 3)


def test_a_change_of_the_same_field_since_refuses_and_tells_the_version(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskRenamed("Sell it"), TaskPrioritySet("high"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers=seen(1))
    problem(answer, 412, "precondition_failed")
    assert answer.headers["etag"] == '"v3"'
    assert len(world.api.events(task)) == 3


def test_a_change_names_all_its_fields(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskPrioritySet("high"))
    body = {"title": "Sail it", "priority": "low"}
    problem(world.ada.patch(f"/tasks/{task}", body, headers=seen(1)), 412, "precondition_failed")
    assert world.ada.patch(f"/tasks/{task}", {"title": "Sail it"}, headers=seen(1)).status_code == 200


def test_strict_handling_refuses_after_any_change(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskPrioritySet("high"))
    body = {"title": "Sail it"}
    problem(world.ada.post(f"/tasks/{task}/rename", body, headers=seen(1, strict=True)), 412, "precondition_failed")
    assert world.ada.post(f"/tasks/{task}/rename", body, headers=seen(2, strict=True)).status_code == 200


def test_a_version_that_is_not_there_yet_is_refused(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers=seen(2))
    problem(answer, 412, "no_such_version", "If-Match")
    assert answer.headers["etag"] == '"v1"'


def test_deleting_and_completing_are_guarded_too(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.ada.post(f"/tasks/{task}/start")
    problem(world.ada.post(f"/tasks/{task}/complete", headers=seen(1)), 412)
    assert world.ada.delete(f"/tasks/{task}", headers=seen(1)).status_code == 200
    world.ada.post(f"/tasks/{task}/restore")
    problem(world.ada.delete(f"/tasks/{task}", headers=seen(1)), 412)


def test_a_star_matches_any_version_of_a_task_that_exists(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskRenamed("Sell it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers={"If-Match": "*"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "value",
    ['"v9", "v1"', 'W/"v9","v1"', '"v1" , "x"', ', "v1",,', '"x,y", "v1"', '"v1-gzip"', '"v1-br"', ' "v1" ', '"v1", "*"'],
)
def test_any_of_several_tags_may_match(world: World, value: str) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers={"If-Match": value})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "value", ['"1"', 'W/"v1"', '"v"', '"v-1"', '"v01"', '"v1-zstd"', '"v٣"', '"V1"', '"v' + "9" * 30 + '"', 'W/"v1", "x"', '""']
)
def test_weak_and_strange_tags_match_nothing(world: World, value: str) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers={"If-Match": value.encode()})
    problem(answer, 412)
    assert answer.headers["etag"] == '"v1"'
    assert len(world.api.events(task)) == 1


@pytest.mark.parametrize(
    "value",
    ["", "1", "v1", '"v1', '"v1" "v2"', '*, "v1"', 'w/"v1"', "W/", ",", '"a b"', "x" * 5000, ",".join(['"v1"'] * 200)],
)
def test_what_is_no_list_of_entity_tags_is_refused(world: World, value: str) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    answer = world.ada.post(f"/tasks/{task}/rename", {"title": "Sail it"}, headers={"If-Match": value.encode()})
    problem(answer, 400, "invalid_if_match", "If-Match")
    assert len(world.api.events(task)) == 1


def test_a_reader_who_has_the_version_gets_304_without_a_body(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.api.catch_up()
    etag = world.ada.get(f"/tasks/{task}").headers["etag"]
    again = world.ada.get(f"/tasks/{task}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert int(again.headers["x-position"]) >= 1
    world.ada.post(f"/tasks/{task}/start")
    world.api.catch_up()
    assert world.ada.get(f"/tasks/{task}", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("value", ['"v9", "v1"', 'W/"v1"', "*", '"v1" , "x"', '"v1-br"', 'W/"v1-gzip"'])
def test_if_none_match_takes_lists_weak_tags_and_the_star(world: World, value: str) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.api.catch_up()
    assert world.ada.get(f"/tasks/{task}", headers={"If-None-Match": value}).status_code == 304


@pytest.mark.parametrize("value", ['"v2"', "v1", '"V1"', "", '"v1'])
def test_any_other_if_none_match_is_answered_in_full(world: World, value: str) -> None:
    task = world.ada.record(TaskCreated("Ship it"))
    world.api.catch_up()
    assert world.ada.get(f"/tasks/{task}", headers={"If-None-Match": value}).status_code == 200
