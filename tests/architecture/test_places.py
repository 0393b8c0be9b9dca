"""Every place of a command and of a field names itself, for every aggregate: where one is forgotten, a test here says which."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, get_type_hints

import msgspec
import pytest

import projections
from api.app import describe
from domain.aggregates import ALL
from projections import DOCUMENTS
from projections.flow import FlowQuery
from projections.project.list import ProjectQuery
from projections.task.list_query import TaskQuery
from tests.architecture.test_aggregates import FOLLOWING, state_of
from tests.architecture.test_catalogue import route
from tests.domain.samples import COMMANDS_OF, EVENTS_OF

NOT_IN_LISTS = {
    "task": {"description": "long; a list is bounded in bytes"},
    "project": {"description": "long; a list is bounded in bytes", "keys": "only the present one tells projects apart"},
}
NOT_BY_PATCH = {
    "task": {"status": "has commands of its own", "deleted": "has commands of its own", "project_id": "has one of its own"},
    "project": {"archived": "has commands of its own", "deleted": "has commands of its own", "keys": "follow from the key"},
}
ALSO_GIVEN = {"task": {"project_id"}, "project": set[str]()}
"""When a stream begins, beside what a patch changes."""

SPAN = {"as_of", "min_position"}
QUERIES: dict[type[msgspec.Struct], tuple[str, set[str], set[str]]] = {
    TaskQuery: ("GET /tasks", {"limit", "cursor"} | SPAN, set()),
    ProjectQuery: ("GET /projects", {"limit", "cursor"} | SPAN, set()),
    FlowQuery: ("GET /analytics/flow", {"min_position"}, {"workspace_id"}),
}
"""By struct the route that asks it, the parameters which that takes beside, and the fields that nobody asks for."""

DESCRIPTION = describe()
each_aggregate = pytest.mark.parametrize("aggregate", ALL, ids=lambda each: str(each.name))


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix('/api/v1')}", operation


def parameters(name: str) -> set[str]:
    """The query parameters that the operation documents."""
    found = dict(operations())[name].get("parameters", [])
    return {each["name"] for each in found if each["in"] == "query"}


def fields_of(kind: Any) -> set[str]:
    return set(kind.__struct_fields__)


def part(aggregate: Any, module: str, name: str) -> Any:
    """What is called after the aggregate in one of its modules, such as `CreateTask`."""
    return getattr(import_module(module.format(aggregate.name)), name.format(aggregate.name.capitalize()))


def test_every_command_has_its_route_and_every_route_of_a_command_its_command() -> None:
    routes = {name for name, operation in operations() if "Commands" in operation["tags"]}
    assert routes - {"POST /tasks/batch"} == {route(command) for aggregate in ALL for command in aggregate.commands}


def test_every_aggregate_has_documents_exceptions_and_samples() -> None:
    names = {aggregate.name for aggregate in ALL}
    for places in (DOCUMENTS, NOT_IN_LISTS, NOT_BY_PATCH, ALSO_GIVEN, COMMANDS_OF, EVENTS_OF):
        assert set(places) == names


@each_aggregate
def test_every_field_is_in_both_documents_and_in_the_description_of_them(aggregate: Any) -> None:
    state, views = state_of(aggregate), "projections.{}.views"
    detail, summary = part(aggregate, views, "{}Detail"), part(aggregate, views, "{}Summary")
    assert fields_of(state) - fields_of(detail) == set()
    assert fields_of(state) - fields_of(summary) == NOT_IN_LISTS[aggregate.name].keys()
    schemas = DESCRIPTION["components"]["schemas"]
    for document in (detail, summary):
        assert set(schemas[document.__name__]["properties"]) == fields_of(document)
    assert get_type_hints(part(aggregate, "projections.{}.document", "{}Document"))[aggregate.name] is state


@each_aggregate
def test_every_field_can_be_given_and_changed_or_has_commands_of_its_own(aggregate: Any) -> None:
    created = part(aggregate, "domain.{}.events", "{}Created")
    changeable = fields_of(state_of(aggregate)) - NOT_BY_PATCH[aggregate.name].keys()
    given = changeable | ALSO_GIVEN[aggregate.name]
    assert changeable == fields_of(part(aggregate, "domain.{}.commands", "Change{}")) - {"reason"}
    assert given <= fields_of(part(aggregate, "domain.{}.commands", "Create{}"))
    assert given == fields_of(created) & fields_of(state_of(aggregate))


@each_aggregate
def test_every_field_that_a_creation_gives_has_a_stored_form_that_is_fixed(aggregate: Any) -> None:
    created = part(aggregate, "domain.{}.events", "{}Created")
    forms = [msgspec.json.decode(form) for event, form in part(aggregate, "tests.domain.{}.test_storage", "STORED")]
    stored = {field for form in forms if form["type"] == created.__struct_config__.tag for field in form}
    given = fields_of(state_of(aggregate)) - NOT_BY_PATCH[aggregate.name].keys() | ALSO_GIVEN[aggregate.name]
    assert given - stored == set()


@each_aggregate
def test_what_nobody_gives_follows_from_other_fields(aggregate: Any) -> None:
    assert FOLLOWING.get(aggregate.name, {}).keys() == fields_of(state_of(aggregate)) - aggregate.fields


def test_every_struct_of_a_query_is_named_with_its_route() -> None:
    modules = [import_module(found.name) for found in walk_packages(projections.__path__, "projections.")]
    structs = {kind for module in modules for name, kind in vars(module).items() if name.endswith("Query")}
    assert structs == QUERIES.keys()


@pytest.mark.parametrize("query", QUERIES, ids=lambda each: str(each.__name__))
def test_every_field_of_a_query_is_a_documented_parameter_and_nothing_else_is(query: type[msgspec.Struct]) -> None:
    name, beside, unasked = QUERIES[query]
    assert parameters(name) == fields_of(query) - unasked | beside
