"""The route of an aggregate that only a later release has. Stands as `api/memos.py` there."""

from domain.memo import MEMO, WriteMemo
from litestar import post
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from api.edge.answers import receipt_answer
from api.edge.body import read_body
from api.edge.command_bodies import decode_command
from api.edge.requests import AnyRequest, command_context, log_of, resources
from api.openapi.documentation import documented
from application.checks import NothingToCheck
from application.command_handler import CommandHandler
from application.receipts import ReceiptBody


@post("/memos", **documented(operation_id="writeMemo", summary="Write a memo", body=WriteMemo, responses={201: ReceiptBody}))
async def write_memo(request: AnyRequest) -> ASGIApp:
    """POST /memos."""
    body = await read_body(request, resources(request).settings.max_body_bytes)
    log = log_of(request)
    handler = CommandHandler(MEMO, log.store, NothingToCheck(), log.handler.turns)
    receipt = await handler.handle(decode_command(body, WriteMemo), uuid7(), command_context(request, body))
    return receipt_answer(receipt, "memos")
