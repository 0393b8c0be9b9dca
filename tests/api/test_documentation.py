"""What `documented` adds to the OpenAPI description."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, Request, post
from litestar.openapi.config import OpenAPIConfig

from api.accounts import account_routes
from api.documentation import (
    Example,
    HeaderParameter,
    PathParameter,
    QueryParameter,
    documented,
    inline_schema,
)


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A note to keep."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Plain text.")]
    colour: Literal["red", "blue"] = "red"


class Kept(msgspec.Struct):
    """Where it was kept."""

    position: int


@post(
    "/folders/{folder:uuid}/notes",
    **documented(
        operation_id="keepNote",
        summary="Keep a note",
        description="Keeps it for good.",
        body=Note,
        example={"text": "buy milk"},
        responses={201: Kept, 202: None},
        errors={401: ["invalid_token"], 409: ["folder_full", "note_there"]},
        parameters=[
            PathParameter("folder", UUID, "Where to keep it."),
            QueryParameter("limit", Annotated[int, msgspec.Meta(ge=1, le=200)], "How many.", default=50),
            QueryParameter("colours", list[Literal["red", "blue"]], "Which."),
            HeaderParameter("Idempotency-Key", str, "Makes a retry safe.", required=True),
        ],
        response_headers={201: {"ETag": "The version."}},
    ),
)
async def keep_note(request: Request[Any, Any, Any]) -> Kept:
    return Kept(1)


@post(
    "/public",
    **documented(
        operation_id="public",
        summary="Open to all",
        body=Note,
        example={"short": Example(value={"text": "a"}), "long": Example(value={"text": "a long one"})},
        errors=[400, 503],
        public=True,
    ),
)
async def public(request: Request[Any, Any, Any]) -> None:
    return None


def described(*handlers: Any) -> dict[str, Any]:
    config = OpenAPIConfig("Test", "1", security=[{"bearer": []}])
    schema: dict[str, Any] = Litestar(list(handlers), openapi_config=config).openapi_schema.to_schema()
    return schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return described(keep_note, public)


@pytest.fixture(scope="module")
def operation(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["paths"]["/folders/{folder}/notes"]["post"]
    return found


def test_the_body_is_described_by_a_component_with_its_bounds(schema: dict[str, Any], operation: dict[str, Any]) -> None:
    body = operation["requestBody"]
    assert body["required"] is True
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Note"}
    assert body["content"]["application/json"]["examples"] == {"example": {"value": {"text": "buy milk"}}}
    note = schema["components"]["schemas"]["Note"]
    assert note["required"] == ["text"]
    assert (note["properties"]["text"]["minLength"], note["properties"]["text"]["maxLength"]) == (1, 500)


def test_responses_have_their_types_headers_and_codes(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    assert set(responses) == {"201", "202", "401", "409"}
    assert responses["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Kept"}
    assert "ETag" in responses["201"]["headers"]
    assert "content" not in responses["202"]
    problem = responses["409"]["content"]["application/problem+json"]
    assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert [example["value"]["code"] for example in problem["examples"].values()] == [
        "folder_full",
        "note_there",
    ]
    assert "WWW-Authenticate" in responses["401"]["headers"]


def test_parameters_are_described_once_each_with_their_bounds(operation: dict[str, Any]) -> None:
    found = {(parameter["in"], parameter["name"]): parameter for parameter in operation["parameters"]}
    assert len(found) == len(operation["parameters"]) == 4
    assert found["path", "folder"]["required"] is True
    assert found["path", "folder"]["schema"] == {"type": "string", "format": "uuid"}
    assert found["path", "folder"]["description"] == "Where to keep it."
    assert found["query", "limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
    }
    assert found["query", "colours"]["schema"]["items"] == {"enum": ["blue", "red"]}
    assert found["header", "Idempotency-Key"]["required"] is True


def test_public_routes_need_no_token_and_others_keep_the_default(schema: dict[str, Any], operation: dict[str, Any]) -> None:
    assert schema["paths"]["/public"]["post"]["security"] == []
    assert public.opt["public"] is True
    assert "security" not in operation


def test_several_examples_keep_their_names(schema: dict[str, Any]) -> None:
    content = schema["paths"]["/public"]["post"]["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {"short", "long"}


def test_a_struct_is_no_parameter() -> None:
    with pytest.raises(ValueError, match="too deep"):
        inline_schema(Note)


def test_every_account_route_is_described_and_no_stray_status_is_left() -> None:
    schema = described(account_routes)
    operations = [operation for item in schema["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 8
    for operation in operations:
        assert operation["summary"]
        assert all(100 <= int(status) <= 599 for status in operation["responses"])
        assert min(operation["responses"]) < "400"
    with_body = {operation["operationId"] for operation in operations if "requestBody" in operation}
    assert with_body == {"register", "login", "refreshTokens"}
