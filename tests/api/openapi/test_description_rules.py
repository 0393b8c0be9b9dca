"""What linters demand of the description and generators need of it, as far as it can be told without them."""

import ast
import inspect
import keyword
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from api.app import _documented_routes, describe
from api.openapi.documentation import DOCUMENTATION, Documentation

HANDLERS: dict[str, HTTPRouteHandler] = {
    handler.opt[DOCUMENTATION].operation_id: handler
    for route in Litestar(_documented_routes(), openapi_config=None).routes
    for handler in getattr(route, "route_handlers", ())
    if DOCUMENTATION in handler.opt
}
COMMANDS_OF_A_TASK = {"Idempotency-Key", "If-Match", "Prefer", "X-Correlation-Id"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, but for examples, which only look like schemas."""
    if isinstance(value, dict):
        yield value
        for name, member in value.items():
            if name not in {"example", "examples"}:
                yield from parts(member)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


def names_read(handler: HTTPRouteHandler) -> set[str]:
    """The names that a handler gives to `query_of`, wherever it calls it."""
    function = handler.fn
    source = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names: set[str] = set()
    for call in ast.walk(source):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "query_of":
            for argument in call.args[1:]:
                expression = argument.value if isinstance(argument, ast.Starred) else argument
                found = eval(compile(ast.Expression(expression), "", "eval"), function.__globals__)  # noqa: S307 - our own
                names |= set(found) if isinstance(argument, ast.Starred) else {found}
    return names


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_what_a_route_reads_of_its_query_is_what_it_documents(name: str) -> None:
    said: Documentation = HANDLERS[name].opt[DOCUMENTATION]
    documented = {parameter.name for parameter in said.parameters if parameter.location == "query"}
    assert documented == names_read(HANDLERS[name])
    assert documented == HANDLERS[name].opt["query_names"]


def test_every_command_on_a_task_takes_the_same_headers(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        if operation["tags"] == ["Commands"] and "{task_id}" in path:
            headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
            assert headers == COMMANDS_OF_A_TASK, path


def test_no_parameter_has_a_name_that_a_language_keeps_for_itself(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        names = [each["name"] for each in operation["parameters"] if keyword.iskeyword(each["name"])]
        # `from` and `to` of a comparison are what everybody calls them; generators write `from_`.
        assert names == (["from"] if operation["operationId"] == "diffTasks" else [])


def test_the_document_says_whose_it_is_and_describes_its_tags(document: dict[str, Any]) -> None:
    assert document["info"]["description"]
    assert document["info"]["contact"]
    assert document["info"]["license"]["url"]
    assert document["servers"]
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} == described


def test_every_operation_is_described_and_has_refusals_that_are_the_clients_fault(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        assert operation["description"], path
        assert any(status.startswith("4") for status in operation["responses"]), path


def test_every_component_is_used(document: dict[str, Any]) -> None:
    used = {part["$ref"] for part in parts(document) if isinstance(part.get("$ref"), str)}
    mapped = {target for part in parts(document) for target in part.get("mapping", {}).values() if isinstance(target, str)}
    for kind in ("schemas", "headers"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used | mapped, name


def test_what_may_be_null_has_a_type_and_nothing_has_a_default_that_would_make_it_required(document: dict[str, Any]) -> None:
    for part in parts(document["components"]["schemas"]):
        assert "type" in part or part.get("nullable") is not True, part
        assert "default" not in part, part


def test_every_choice_has_a_type_and_every_choice_of_several_a_name(document: dict[str, Any]) -> None:
    named = document["components"]["schemas"].values()
    for part in parts(document):
        if isinstance(part.get("enum"), list):
            assert isinstance(part["type"], str)
            assert len(part["enum"]) == 1 or part in named, part


def test_what_is_told_apart_by_a_tag_has_to_have_it(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    unions = [part for part in parts(schemas) if "oneOf" in part]
    assert unions
    for union in unions:
        tag = union["discriminator"]["propertyName"]
        for value, target in union["discriminator"]["mapping"].items():
            schema = schemas[target.rpartition("/")[2]]
            assert tag in schema["required"]
            assert schema["properties"][tag]["enum"] == [value]


def test_no_other_union_stands_in_the_document(document: dict[str, Any]) -> None:
    assert not [part for part in parts(document) if "anyOf" in part]


def test_who_may_ask_for_what_is_new_can_be_told_that_nothing_is(document: dict[str, Any]) -> None:
    conditional = [
        operation
        for _, operation in operations(document)
        if any(parameter["name"] == "If-None-Match" for parameter in operation["parameters"])
    ]
    assert conditional
    for operation in conditional:
        assert set(operation["responses"]["304"]["headers"]) >= {"ETag", "X-Request-Id"}


def test_numbers_in_headers_are_numbers(document: dict[str, Any]) -> None:
    headers = document["components"]["headers"]
    assert headers["X-Position"]["schema"]["type"] == headers["Retry-After"]["schema"]["type"] == "integer"
    for _, operation in operations(document):
        for response in operation["responses"].values():
            position = response["headers"].get("X-Position")
            assert position is None or "$ref" in position or position["schema"]["type"] == "integer"


def test_words_that_are_always_of_a_few_are_enums(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["HistoryEntry"]["properties"]["type"] == {"$ref": "#/components/schemas/EventType"}
    assert "task.created" in schemas["EventType"]["enum"]
    assert schemas["FieldChange"]["properties"]["field"] == {"$ref": "#/components/schemas/FieldName"}
    assert schemas["TaskCounts"]["required"] == ["open", "in_progress", "completed", "cancelled", "deleted"]
    for name, schema in schemas.items():
        if name.endswith("Problem"):
            assert schema["properties"]["code"] == {"$ref": f"#/components/schemas/{name}Code"}
