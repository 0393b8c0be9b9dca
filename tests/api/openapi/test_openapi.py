"""The OpenAPI description: whole, valid, true to the routes and to what they take."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.routes import HTTPRoute
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from openapi_spec_validator import OpenAPIV30SpecValidator

from api.app import describe
from api.edge.problem import PROBLEM_JSON
from tests.api_world import Api

# What people read or programs fetch to learn of the rest.
UNDESCRIBED = {
    ("GET", path)
    for path in ("/schema/openapi.json", "/", "/docs", "/docs/swagger-ui.js", "/docs/swagger-ui.css", "/docs/start.js")
}
PUBLIC = {"register", "login", "refreshTokens", "healthz", "readyz"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body, of requests and of answers, with a name for it."""
    for _, _, operation in operations(document):
        bodies = {"request": operation.get("requestBody", {})} | operation["responses"]
        for name, body in bodies.items():
            for media in body.get("content", {}).values():
                yield f"{operation['operationId']} {name}", media


def validator(document: dict[str, Any], schema: dict[str, Any]) -> OAS30Validator:
    return OAS30Validator(schema | {"components": document["components"]}, format_checker=oas30_format_checker)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.0")
    OpenAPIV30SpecValidator(document).validate()


def test_the_served_document_is_this_one(api: Api, document: dict[str, Any]) -> None:
    answer = api.request("GET", "/schema/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert answer.json() == document


def test_routes_and_descriptions_are_the_same_both_ways(api: Api, document: dict[str, Any]) -> None:
    routes = {
        (method, route.path_format)
        for route in api.app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    assert routes - UNDESCRIBED == {(method, path) for method, path, _ in operations(document)}
    assert routes >= UNDESCRIBED


def test_every_operation_is_named_summarised_and_filed(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for _, _, operation in operations(document):
        assert re.fullmatch(r"[a-z][a-zA-Z]+", operation["operationId"])
        assert operation["summary"]
        assert len(operation["tags"]) == 1


def test_every_operation_says_whether_it_needs_a_token(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        public = operation["operationId"] in PUBLIC
        assert operation["security"] == ([] if public else [{"bearer": []}])
        assert public or "missing_token" in operation["responses"]["401"]["content"][PROBLEM_JSON]["examples"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_refusal_is_a_problem_with_examples_and_every_success_has_a_schema(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert min(operation["responses"]) < "300"
        for status, response in operation["responses"].items():
            if status in {"204", "304"}:
                assert "content" not in response
            elif status < "400" or (path, status) == ("/readyz", "503"):
                assert "$ref" in response["content"]["application/json"]["schema"]
            else:
                media = response["content"][PROBLEM_JSON]
                name = operation["operationId"][0].upper() + operation["operationId"][1:]
                assert media["schema"] == {"$ref": f"#/components/schemas/{name}Problem"}
                assert media["examples"]


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["examples"], operation["operationId"]


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for name, media in contents(document):
        for example in media.get("examples", {}).values():
            errors = list(validator(document, media["schema"]).iter_errors(example["value"]))
            assert errors == [], (name, errors)
            checked += 1
    assert checked > 300


def test_a_single_command_needs_no_tag_and_one_in_a_batch_does(document: dict[str, Any]) -> None:
    rename = validator(document, {"$ref": "#/components/schemas/RenameTask"})
    assert rename.is_valid({"title": "x"})
    item = validator(document, {"$ref": "#/components/schemas/BatchItem"})
    assert item.is_valid({"command": {"command": "create", "title": "x"}})
    assert not item.is_valid({"command": {"title": "x"}})
    assert not item.is_valid({"command": {"command": "start", "title": "x"}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CreateTask", {"title": "x" * 256}),
        ("CreateTask", {"title": ""}),
        ("CreateTask", {"title": "x", "labels": ["x" * 65]}),
        ("CreateTask", {"title": "x", "labels": [str(number) for number in range(51)]}),
        ("CreateTask", {"title": "x", "assignees": ["x"] * 21}),
        ("CreateTask", {"title": "x", "priority": "soon"}),
        ("CreateTask", {"title": "x", "unknown": 1}),
        ("CreateTask", {"title": "x", "estimate": -1}),
        ("CreateTask", {"title": "x", "estimate": 1001}),
        ("CreateTask", {"title": "x", "estimate": 0.25}),
        ("SetEstimate", {"estimate": None}),
        ("CreateTask", {}),
        ("ChangeTask", {"title": None}),
        ("RenameTask", {"title": "x", "reason": "x" * 1001}),
        ("Batch", {"commands": []}),
        ("Batch", {"commands": [{"command": {"command": "create", "title": "x"}}] * 1001}),
        ("Registration", {"email": "a@b", "password": "x", "display_name": "x", "role": "owner"}),
    ],
)
def test_bounds_can_be_read_off_the_schemas(document: dict[str, Any], name: str, value: object) -> None:
    assert not validator(document, {"$ref": f"#/components/schemas/{name}"}).is_valid(value)


def test_every_component_is_used_described_and_whole(document: dict[str, Any]) -> None:
    text = str(document)
    for name, schema in document["components"]["schemas"].items():
        assert f"'#/components/schemas/{name}'" in text, name
        assert schema.get("description"), name
        assert "    " not in schema["description"]


def test_moments_are_dates_with_time(document: dict[str, Any]) -> None:
    task = document["components"]["schemas"]["TaskDetail"]["properties"]
    assert task["created_at"]["format"] == "date-time"
    assert task["completed_at"] == {"type": "string", "format": "date-time", "nullable": True}
    parameters = {p["name"]: p for p in document["paths"]["/api/v1/tasks"]["get"]["parameters"]}
    assert parameters["due_from"]["schema"]["format"] == "date-time"
