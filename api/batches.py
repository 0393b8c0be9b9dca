"""The batch: up to 1,000 commands in one request, each with a result of its own."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import post
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from api.edge.admission import charge_items
from api.edge.answers import Answer
from api.edge.body import read_body
from api.edge.command_bodies import decode_command
from api.edge.errors import BadRequest, problem_of
from api.edge.problem import Problem
from api.edge.requests import AnyRequest, command_context, log_of, principal, resources
from api.openapi.documentation import documented
from api.openapi.recurring import COMMAND_ERRORS, CORRELATION, KEY, SOMEBODY
from application.batches import Entry, Outcome, Rendered
from application.command_handler import IfMatch
from application.receipts import ReceiptBody
from domain.project.values import Address, address_of
from domain.task.commands import CreateTask, TaskCommand

BATCH_MAX: Final = 1000
_DECODED_AT_ONCE: Final = 131_072
"""Larger bodies are decoded beside the event loop, which others wait for."""


class BatchItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command of a batch. `task_id` names the task, and may choose that of a new one; `if_match` is a version.

    In place of `task_id`, `task` may name a task that was there before by its project's key and its number, as in `PRJ-123`.
    """

    command: TaskCommand
    task_id: UUID | None = None
    task: Address | None = None
    if_match: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 commands. Those of one task are carried out in order, each is accepted or refused on its own."""

    commands: Annotated[tuple[BatchItem, ...], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]


class BatchResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one command: its receipt, or the problem for which it was refused."""

    index: int
    status: int
    receipt: ReceiptBody | None = None
    problem: Problem | None = None


class BatchResults(msgspec.Struct, frozen=True):
    """One result a command, in the order of the commands, and the newest position that they rest on."""

    position: int
    results: list[BatchResult]


@post(
    "/tasks/batch",
    status_code=200,
    **documented(
        operation_id="batchTasks",
        summary="Up to 1,000 commands in one request",
        description="Every command succeeds or fails on its own and has its own result; those of one task are carried out in "
        "order, so that a task can be created under an id of the client's choice and changed in one batch. Their events share "
        "a correlation id. An Idempotency-Key covers the batch whole: the same batch brings the original answer back, another "
        "request with the key is refused before anything is done. Commands that failed for a reason that passes (their status "
        "is of the 500s, or `contention`) are tried again by a retry with the key, the others are not.",
        body=Batch,
        example={
            "commands": [
                {"command": {"command": "create", "title": "Book the room"}},
                {"task_id": SOMEBODY, "command": {"command": "complete"}},
            ]
        },
        responses={200: BatchResults},
        errors=COMMAND_ERRORS | {422: ["idempotency_key_reused"]},
        parameters=[KEY, CORRELATION],
        response_headers={
            200: {
                "X-Position": "The newest position that the results rest on: give it to reads as `min_position`.",
                "Idempotency-Replayed": "`true` where the key brought back an earlier answer.",
            }
        },
    ),
)
async def batch_tasks(request: AnyRequest) -> ASGIApp:
    """POST /tasks/batch."""
    body = await read_body(request, resources(request).settings.max_batch_bytes)
    log = log_of(request)
    context = command_context(request, body)
    if context.if_match is not None:
        raise BadRequest(400, "invalid_if_match", "a batch has `if_match` with each of its commands", "If-Match")
    async with log.batch_turns.turn(principal(request).workspace_id, len(body)):
        if len(body) <= _DECODED_AT_ONCE:
            batch = decode_command(body, Batch)
        else:
            batch = await asyncio.to_thread(decode_command, body, Batch)
        await charge_items(request, len(batch.commands))
        addressed = await _addressed(request, batch)
        answer = await log.batches.handle([_entry(item, addressed) for item in batch.commands], context, _rendered)
    results = [_result(index, outcome) for index, outcome in enumerate(answer.outcomes)]
    headers = ((b"idempotency-replayed", b"true"),) if answer.replayed else ()
    return Answer(msgspec.json.encode(BatchResults(answer.position, results)), answer.position, 200, headers)


async def _addressed(request: AnyRequest, batch: Batch) -> Mapping[str, UUID]:
    """The task of each address in the batch, all of them looked up at once."""
    named = {item.task: address_of(item.task) for item in batch.commands if item.task}
    if not named:
        return {}
    found = await log_of(request).store.all_addressed(
        principal(request).workspace_id, {address for address in named.values() if address}
    )
    return {text: found[address] for text, address in named.items() if address}


def _entry(item: BatchItem, addressed: Mapping[str, UUID]) -> Entry[TaskCommand]:
    command, chosen = item.command, item.task_id
    refusal = None
    if item.task is not None:
        if chosen is not None or isinstance(command, CreateTask):
            refusal = BadRequest(400, "invalid_body", "task names one that is there, in place of task_id", "/task")
        elif item.task not in addressed:
            # The pattern lets a line end pass.
            refusal = BadRequest(400, "invalid_body", "task is a project's key and a number, such as PRJ-123", "/task")
        chosen = chosen or addressed.get(item.task)
    elif isinstance(command, CreateTask):
        if chosen and command.task_id and chosen != command.task_id:
            refusal = BadRequest(400, "invalid_body", "the command names another task_id", "/task_id")
        chosen = chosen or command.task_id
        if chosen and not command.task_id:
            command = msgspec.structs.replace(command, task_id=chosen)
    elif chosen is None:
        refusal = BadRequest(400, "invalid_body", "every command but create needs a task_id or a task", "/task_id")
    return Entry(chosen or uuid7(), command, IfMatch((item.if_match,)) if item.if_match else None, refusal)


def _rendered(error: Exception) -> Rendered:
    found, _ = problem_of(error)
    return Rendered(msgspec.json.encode(found), found.status < 500 and found.code != "contention")


_problem = msgspec.json.Decoder(Problem).decode
_receipt = msgspec.json.Decoder(ReceiptBody).decode


def _result(index: int, outcome: Outcome) -> BatchResult:
    receipt = outcome.receipt
    if receipt is None:
        problem = _problem(outcome.problem)
        return BatchResult(index, problem.status, problem=problem)
    return BatchResult(index, 201 if receipt.created else 200, _receipt(receipt.body))
