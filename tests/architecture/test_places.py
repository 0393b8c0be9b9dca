"""Every place of a command and of a field names itself: where one is forgotten, a test here says which."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec

from api.app import describe
from domain.aggregates import ALL
from domain.task.commands import ChangeTask, CreateTask, TaskCommand
from domain.task.events import TaskCreated
from domain.task.rules import Task
from projections.task.document import TaskDocument
from projections.task.list import TaskQuery
from projections.task.views import TaskDetail, TaskSummary
from tests.architecture.test_catalogue import route
from tests.domain.task.test_lifecycle import ALL_BUT_CREATE
from tests.domain.task.test_storage import STORED

NOT_IN_LISTS = {"description": "long; a list is bounded in bytes"}
NOT_BY_PATCH = {"status": "has commands of its own", "deleted": "has commands of its own", "project_id": "has one of its own"}
ALSO_GIVEN = {"project_id"}
DESCRIPTION = describe()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix('/api/v1')}", operation


def parameters(name: str) -> set[str]:
    """The query parameters that the operation documents."""
    found = dict(operations())[name].get("parameters", [])
    return {each["name"] for each in found if each["in"] == "query"}


def test_every_command_has_its_route_and_every_route_of_a_command_its_command() -> None:
    routes = {name for name, operation in operations() if "Commands" in operation["tags"]}
    assert routes - {"POST /tasks/batch"} == {route(command) for aggregate in ALL for command in aggregate.commands}


def test_every_command_but_the_creating_ones_is_tried_on_missing_and_deleted_tasks() -> None:
    assert sorted(type(command).__name__ for command in ALL_BUT_CREATE) == sorted(
        command.__name__ for command in get_args(TaskCommand) if command is not CreateTask
    )


def test_every_field_of_a_task_is_in_both_documents_and_in_the_description_of_them() -> None:
    assert set(Task.__struct_fields__) - set(TaskDetail.__struct_fields__) == set()
    assert set(Task.__struct_fields__) - set(TaskSummary.__struct_fields__) == NOT_IN_LISTS.keys()
    schemas = DESCRIPTION["components"]["schemas"]
    for document in (TaskDetail, TaskSummary):
        assert set(schemas[document.__name__]["properties"]) == set(document.__struct_fields__)
    assert get_type_hints(TaskDocument)["task"] is Task


def test_every_field_of_a_task_can_be_given_and_changed_or_has_commands_of_its_own() -> None:
    changeable = set(Task.__struct_fields__) - NOT_BY_PATCH.keys()
    assert changeable == set(ChangeTask.__struct_fields__) - {"reason"}
    assert changeable | ALSO_GIVEN <= set(CreateTask.__struct_fields__)
    assert changeable | ALSO_GIVEN == set(TaskCreated.__struct_fields__) & set(Task.__struct_fields__)


def test_every_field_of_a_task_has_a_stored_form_that_is_fixed() -> None:
    created = [msgspec.json.decode(stored) for event, stored in STORED if isinstance(event, TaskCreated)]
    stored = {field for form in created for field in form}
    assert (set(Task.__struct_fields__) - NOT_BY_PATCH.keys() | ALSO_GIVEN) - stored == set()


def test_every_field_of_the_query_is_a_documented_parameter_and_nothing_else_is() -> None:
    beside = {"limit", "cursor", "as_of", "min_position"}
    assert parameters("GET /tasks") == set(TaskQuery.__struct_fields__) | beside
