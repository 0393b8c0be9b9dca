"""A UUID has one textual form; whatever else somebody sends in place of one filters, names and ends nothing."""

from typing import Any
from uuid import UUID

import pytest

from tests.api_world import World, problem

GOOD = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
MOMENTS = ["due_from", "due_before", "created_from", "created_before"]
NO_UUIDS = [
    "null",
    "NULL",
    "none",
    "undefined",
    "",
    " ",
    "me",
    "*",
    "0",
    GOOD.hex,
    f"0x{GOOD.hex}",
    f"{{{GOOD}}}",
    f"urn:uuid:{GOOD}",
    f" {GOOD}",
    f"{GOOD} ",
    f"{GOOD}\n",
    f"{GOOD},{GOOD}",
    str(GOOD).replace("-", "_"),
    str(GOOD).replace("-", "--"),
    "0189-0a5dac96774bbcceb302099a8057----",
    str(GOOD).translate({48 + digit: 0xFF10 + digit for digit in range(10)}),
    str(GOOD).translate({48 + digit: 0x0660 + digit for digit in range(10)}),
    str(GOOD).replace("0", "g"),
]


@pytest.mark.parametrize("name", ["assignee", "created_by"])
@pytest.mark.parametrize("value", NO_UUIDS)
def test_no_filter_is_dropped_because_its_value_is_no_uuid(world: World, name: str, value: str) -> None:
    problem(world.ada.get("/tasks", params={name: value}), 400, "invalid_parameter", name)


@pytest.mark.parametrize("value", [str(GOOD), str(GOOD).upper()])
def test_a_uuid_filters_in_either_case(world: World, value: str) -> None:
    world.ada.task()
    world.api.catch_up()
    assert world.ada.get(f"/tasks?assignee={value}").json()["items"] == []


@pytest.mark.parametrize(
    "name", ["due_from", "due_before", "created_from", "created_before", "sort", "status", "priority", "deleted", "limit"]
)
@pytest.mark.parametrize("value", ["null", "", "undefined"])
def test_no_other_filter_is_dropped_for_a_value_that_is_none(world: World, name: str, value: str) -> None:
    problem(world.ada.get("/tasks", params={name: value}), 400, "invalid_parameter", name)


@pytest.mark.parametrize("value", [value for value in NO_UUIDS if value.strip() == value and "\n" not in value])
def test_a_correlation_id_is_a_uuid(world: World, value: str) -> None:
    headers: dict[str, Any] = {"X-Correlation-Id": value.encode()}
    problem(world.ada.post("/tasks", {"title": "x"}, headers=headers), 400, "invalid_uuid", "X-Correlation-Id")


@pytest.mark.parametrize("value", [GOOD.hex, GOOD.hex.upper(), f"{{{GOOD}}}", f"urn:uuid:{GOOD}", "null", ""])
def test_a_uuid_in_a_body_has_the_same_form(world: World, value: str) -> None:
    task = world.ada.task()
    problem(world.ada.post(f"/tasks/{task}/assign", {"assignee": value}), 400, "invalid_body", "/assignee")
    item = {"task_id": value, "command": {"command": "start"}}
    problem(world.ada.post("/tasks/batch", {"commands": [item]}), 400, "invalid_body")
    created = world.ada.post("/tasks", {"title": "x", "assignees": [value]})
    problem(created, 400, "invalid_body")


def test_a_text_that_looks_like_a_uuid_without_hyphens_stays_a_text(world: World) -> None:
    assert world.ada.post("/tasks", {"title": GOOD.hex, "labels": [GOOD.hex]}).status_code == 201


@pytest.mark.parametrize("value", [GOOD.hex, f"0x{GOOD.hex}", "null", "-", "x"])
def test_a_task_that_is_not_named_by_its_id_is_not_there(world: World, value: str) -> None:
    for path in (f"/tasks/{value}", f"/tasks/{value}/history"):
        problem(world.ada.get(path), 404, "task_not_found")
    problem(world.ada.delete(f"/tasks/{value}"), 404, "task_not_found")
