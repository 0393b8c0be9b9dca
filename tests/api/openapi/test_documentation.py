"""What a route says of itself, and what the OpenAPI description makes of it."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, Request, Router, get, patch, post

from api.openapi.describing import openapi_document
from api.openapi.documentation import HeaderParameter, PathParameter, QueryParameter, documented
from api.openapi.schemas import Components
from domain.task.values import Priority


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A note to keep."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Plain text.")]
    priority: Priority = "low"
    due: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Kept(msgspec.Struct):
    """Where it was kept."""

    position: int = 0
    by: UUID | None = None


class Sparse(msgspec.Struct, omit_defaults=True):
    """What says only what there is to say."""

    kept: Kept | None = None
    word: str | None = None


class Add(msgspec.Struct, tag_field="kind", tag="add", forbid_unknown_fields=True):
    """Something more."""

    amount: int = 1


class Remove(msgspec.Struct, tag_field="kind", tag="remove", forbid_unknown_fields=True):
    """Something less."""


class Several(msgspec.Struct, forbid_unknown_fields=True):
    """Several at once."""

    changes: list[Add | Remove]


@post(
    "/folders/{folder:str}/notes",
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
            QueryParameter("priorities", list[Priority], "Which."),
            HeaderParameter("Idempotency-Key", str, "Makes a retry safe.", required=True),
        ],
        response_headers={201: {"ETag": "The version.", "X-Position": "The position that this answer reflects."}},
    ),
)
async def keep_note(request: Request[Any, Any, Any]) -> Kept:
    return Kept(1)


@get(
    "/public",
    **documented(
        operation_id="public",
        summary="Open to all",
        responses={200: Sparse},
        parameters=[HeaderParameter("If-None-Match", str, "Only if it is another.")],
        response_headers={200: {"ETag": "The version."}},
        public=True,
    ),
)
async def public(request: Request[Any, Any, Any]) -> Sparse:
    return Sparse()


@patch(
    "/several",
    **documented(
        operation_id="changeSeveral",
        summary="Change several",
        body=Several,
        examples={"one": {"changes": [{"kind": "add"}]}, "none": {"changes": []}},
        body_media_type=("application/json", "application/merge-patch+json"),
    ),
    status_code=204,
)
async def change_several(request: Request[Any, Any, Any]) -> None:
    return None


def described(*handlers: Any) -> dict[str, Any]:
    router = Router("/", route_handlers=list(handlers), tags=["Tasks"])
    return openapi_document(Litestar([router], openapi_config=None).routes)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return described(keep_note, public, change_several)


@pytest.fixture(scope="module")
def operation(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"]["/folders/{folder}/notes"]["post"]
    return found


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def test_the_body_is_described_by_a_component_with_its_bounds(document: dict[str, Any], operation: dict[str, Any]) -> None:
    body = operation["requestBody"]
    assert body["required"] is True
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Note"}
    assert body["content"]["application/json"]["examples"] == {"example": {"value": {"text": "buy milk"}}}
    note = schema(document, "Note")
    assert note["properties"]["text"] == {"type": "string", "minLength": 1, "maxLength": 500, "description": "Plain text."}
    assert note["properties"]["due"] == {"type": "integer", "format": "int64", "minimum": 0, "nullable": True}
    assert note["additionalProperties"] is False


def test_what_may_be_left_out_of_a_request_says_so_without_a_default(document: dict[str, Any]) -> None:
    note = schema(document, "Note")
    assert note["required"] == ["text"]
    assert note["properties"]["priority"] == {
        "allOf": [{"$ref": "#/components/schemas/Priority"}],
        "description": 'Left out: `"low"`.',
    }
    assert "default" not in str(note)


def test_what_an_answer_always_carries_is_required_whatever_its_default(document: dict[str, Any]) -> None:
    assert schema(document, "Kept")["required"] == ["position", "by"]
    assert schema(document, "Kept")["properties"]["by"] == {"type": "string", "format": "uuid", "nullable": True}


def test_what_an_answer_leaves_out_is_not_required_and_never_null(document: dict[str, Any]) -> None:
    assert schema(document, "Sparse")["properties"] == {
        "kept": {"$ref": "#/components/schemas/Kept"},
        "word": {"type": "string"},
    }
    assert "required" not in schema(document, "Sparse")


def test_a_choice_of_words_is_a_component_with_a_type_in_its_own_order(document: dict[str, Any]) -> None:
    priority = schema(document, "Priority")
    assert priority["type"] == "string"
    assert priority["enum"] == ["none", "low", "medium", "high", "urgent"]
    assert priority["description"]


def test_a_choice_of_words_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="has no name"):
        Components().schema(Literal["red", "blue"], "request")


def test_a_struct_may_not_stand_on_both_sides() -> None:
    components = Components()
    components.schema(Kept, "answer")
    with pytest.raises(ValueError, match="Kept stands in requests and in answers"):
        components.schema(Kept, "request")


def test_one_of_several_structs_is_told_apart_by_a_required_tag(document: dict[str, Any]) -> None:
    assert schema(document, "Several")["properties"]["changes"]["items"] == {"$ref": "#/components/schemas/AnyKind"}
    union = schema(document, "AnyKind")
    assert union["discriminator"] == {
        "propertyName": "kind",
        "mapping": {"add": "#/components/schemas/TaggedAdd", "remove": "#/components/schemas/TaggedRemove"},
    }
    assert [part["$ref"] for part in union["oneOf"]] == list(union["discriminator"]["mapping"].values())
    assert schema(document, "TaggedAdd")["required"] == ["kind"]
    assert schema(document, "TaggedAdd")["properties"]["kind"] == {"type": "string", "enum": ["add"]}


def test_responses_have_their_types_headers_and_codes(document: dict[str, Any], operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    assert set(responses) >= {"201", "202", "400", "401", "409", "413", "415", "500", "503"}
    assert responses["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Kept"}
    assert responses["201"]["headers"]["ETag"]["schema"]["pattern"]
    assert responses["201"]["headers"]["X-Position"] == {"$ref": "#/components/headers/X-Position"}
    assert document["components"]["headers"]["X-Position"]["schema"]["type"] == "integer"
    assert "content" not in responses["202"]
    problem = responses["409"]["content"]["application/problem+json"]
    assert problem["schema"] == {"$ref": "#/components/schemas/KeepNoteProblem"}
    assert [example["value"]["code"] for example in problem["examples"].values()] == ["folder_full", "note_there"]
    assert "WWW-Authenticate" in responses["401"]["headers"]


def test_every_operation_names_the_codes_it_can_answer(document: dict[str, Any]) -> None:
    codes = schema(document, "KeepNoteProblem")["properties"]["code"]
    assert codes == {"$ref": "#/components/schemas/KeepNoteProblemCode"}
    named = schema(document, "KeepNoteProblemCode")["enum"]
    assert {"folder_full", "note_there", "missing_token", "malformed_json", "unknown_parameter", "not_found"} <= set(named)
    assert set(schema(document, "PublicProblemCode")["enum"]).isdisjoint({"missing_token", "malformed_json", "not_found"})
    assert set(schema(document, "ProblemCode")["enum"]) >= set(named)


def test_parameters_are_described_once_each_with_their_bounds(operation: dict[str, Any]) -> None:
    found = {(parameter["in"], parameter["name"]): parameter for parameter in operation["parameters"]}
    assert len(found) == len(operation["parameters"]) == 4
    assert found["path", "folder"]["required"] is True
    assert found["path", "folder"]["schema"] == {"type": "string", "format": "uuid"}
    assert found["path", "folder"]["description"] == "Where to keep it."
    limit = found["query", "limit"]["schema"]
    assert limit == {"type": "integer", "format": "int64", "minimum": 1, "maximum": 200, "default": 50}
    assert found["query", "priorities"]["schema"]["items"] == {"$ref": "#/components/schemas/Priority"}
    assert found["header", "Idempotency-Key"]["required"] is True


def test_public_routes_need_no_token_and_others_do(document: dict[str, Any], operation: dict[str, Any]) -> None:
    assert document["paths"]["/public"]["get"]["security"] == []
    assert public.opt["public"] is True
    assert operation["security"] == [{"bearer": []}]


def test_who_takes_if_none_match_answers_304_with_the_same_headers(document: dict[str, Any]) -> None:
    responses = document["paths"]["/public"]["get"]["responses"]
    assert responses["304"]["headers"] == responses["200"]["headers"]
    assert "content" not in responses["304"]


def test_a_body_has_all_its_examples_in_all_its_media_types(document: dict[str, Any]) -> None:
    content = document["paths"]["/several"]["patch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/merge-patch+json"}
    assert all(set(media["examples"]) == {"one", "none"} for media in content.values())


def test_the_success_of_a_route_without_answer_is_its_status(document: dict[str, Any]) -> None:
    assert min(document["paths"]["/several"]["patch"]["responses"]) == "204"


def test_a_parameter_of_the_path_that_is_not_described_is_refused() -> None:
    @get("/notes/{note:str}", **documented(operation_id="note", summary="A note"))
    async def note(request: Request[Any, Any, Any]) -> None:
        return None

    with pytest.raises(ValueError, match=r"/notes/\{note\}"):
        described(note)
