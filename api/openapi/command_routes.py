"""Routes that carry out a command on one stream: the same for every aggregate, said once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import delete, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from api.edge.answers import receipt_answer
from api.edge.body import read_body
from api.edge.command_bodies import decode_command
from api.edge.requests import AnyRequest, command_context, log_of, resources
from api.openapi.documentation import Parameter, documented
from api.openapi.recurring import COMMAND_ERRORS, CORRELATION, IF_MATCH, KEY, PREFER_STRICT, RECEIPT_HEADERS
from application.command_handler import CommandHandler
from application.receipts import ReceiptBody
from infrastructure.bootstrap import LogResources

Issue = Callable[[AnyRequest], Awaitable[ASGIApp]]


class CommandRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """The command routes of one aggregate.

    `collection` is the first part of their paths, `named` the parameter that names a stream there and `id_of` reads it, `noun`
    stands in the names of operations, `handler` carries the commands out, `refusals` are the codes of problems by status.
    """

    collection: str
    noun: str
    named: Parameter
    id_of: Callable[[AnyRequest], Awaitable[UUID]]
    handler: Callable[[LogResources], CommandHandler[Any, Any, Any]]
    refusals: Mapping[int, Sequence[str]]

    def create(
        self,
        kind: type[msgspec.Struct],
        summary: str,
        description: str,
        example: dict[str, Any],
        refusals: Mapping[int, Sequence[str]],
    ) -> HTTPRouteHandler:
        """POST to the collection. The command may name the new stream itself, as `<noun>_id`."""
        named = f"{self.noun.lower()}_id"

        async def issue(request: AnyRequest) -> ASGIApp:
            body = await read_body(request, resources(request).settings.max_body_bytes)
            command = decode_command(body, kind)
            stream_id = getattr(command, named) or uuid7()
            receipt = await self.handler(log_of(request)).handle(command, stream_id, command_context(request, body))
            return receipt_answer(receipt, self.collection)

        name = f"create{self.noun}"
        said = documented(
            operation_id=name,
            summary=summary,
            description=description,
            body=kind,
            example=example,
            responses={201: ReceiptBody},
            errors={**COMMAND_ERRORS, **refusals},
            parameters=[KEY, CORRELATION],
            response_headers={201: RECEIPT_HEADERS | {"Location": f"The {self.noun.lower()}."}},
        )
        return post(f"/{self.collection}", name=name, **said)(issue)

    def post(self, verb: str, kind: type[msgspec.Struct], summary: str, example: dict[str, Any]) -> HTTPRouteHandler:
        """POST …/verb. A command that needs no field needs no body."""
        words, optional = verb.split("-"), _needs_nothing(kind)
        said = self._said(kind, summary, example, body_required=not optional)
        name = f"{words[0]}{self.noun}{''.join(word.capitalize() for word in words[1:])}"
        route = post(f"{self._path}/{verb}", status_code=200, name=name, **documented(operation_id=name, **said))
        return route(self._issue(kind, optional=optional))

    def patch(self, kind: type[msgspec.Struct], summary: str, description: str, example: dict[str, Any]) -> HTTPRouteHandler:
        """PATCH: several fields at once."""
        said = self._said(kind, summary, example, description=description)
        said["body_media_type"] = ("application/json", "application/merge-patch+json")
        said["response_headers"] |= {415: {"Accept-Patch": "The media types that a PATCH may have."}}
        route = patch(self._path, **documented(operation_id=f"change{self.noun}", **said))
        return route(self._issue(kind, optional=False))

    def delete(self, kind: type[msgspec.Struct], summary: str, description: str, example: dict[str, Any]) -> HTTPRouteHandler:
        """DELETE, which can be undone."""
        said = self._said(kind, summary, example, description=description, body_required=False)
        route = delete(self._path, status_code=200, **documented(operation_id=f"delete{self.noun}", **said))
        return route(self._issue(kind, optional=True))

    @property
    def _path(self) -> str:
        return f"/{self.collection}/{{{self.named.name}:str}}"

    def _said(self, kind: type[msgspec.Struct], summary: str, example: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "summary": summary,
            "body": kind,
            "example": example,
            "responses": {200: ReceiptBody},
            "errors": self.refusals,
            "parameters": [self.named, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
            "response_headers": {200: RECEIPT_HEADERS},
            **more,
        }

    def _issue(self, kind: type[msgspec.Struct], *, optional: bool) -> Issue:
        async def issue(request: AnyRequest) -> ASGIApp:
            body = await read_body(request, resources(request).settings.max_body_bytes, optional)
            command = decode_command(b"{}" if optional and not body else body, kind)
            context = command_context(request, body)
            receipt = await self.handler(log_of(request)).handle(command, await self.id_of(request), context)
            return receipt_answer(receipt, self.collection)

        return issue


def _needs_nothing(kind: type[msgspec.Struct]) -> bool:
    return not any(field.required for field in msgspec.structs.fields(kind))
