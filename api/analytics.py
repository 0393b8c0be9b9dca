"""Routes for analytics consumers: flow metrics over any part of the past."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.answers import Answer
from api.documentation import QueryParameter, documented
from api.errors import BadRequest
from api.requests import AnyRequest, log_of, one, principal, query_of, wait_of
from api.tasks import MIN_POSITION, PREFER_WAIT, READ_ERRORS, X_POSITION
from projections.flow import FlowMetrics, flow_metrics, flow_span

DAYS_MAX: Final = 7400


@get(
    "/analytics/flow",
    **documented(
        operation_id="getFlowMetrics",
        summary="Flow metrics",
        description="Per UTC day: tasks created, started, completed, reopened, cancelled and deleted, and how many were open "
        "and in progress at its end. Over the span: lead time (creation to completion) and cycle time (first start to "
        "completion) of what was completed and stayed so, in seconds, as percentiles 50, 85 and 95. Imported history "
        "counts when it happened.",
        responses={200: FlowMetrics},
        errors=READ_ERRORS,
        parameters=[
            QueryParameter("from", date, "The first day; that of the first event by default."),
            QueryParameter("to", date, "The last day; that of the last event by default."),
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION},
    ),
)
async def get_flow(request: AnyRequest) -> ASGIApp:
    """GET /analytics/flow."""
    query = query_of(request, "from", "to", "min_position")
    first, last = _day(query, "from"), _day(query, "to")
    reads, workspace = log_of(request).reads, principal(request).workspace_id
    wait = wait_of(request, query)
    if wait.minimum:
        await reads.reach("flow", wait)
    async with reads.connection() as connection:
        if first is None or last is None:
            today = datetime.now(UTC).date()
            found = await flow_span(connection, workspace) or (today, today)
            first, last = first or min(found[0], last or found[0]), last or max(found[1], first or found[1])
        if first > last or (last - first) > timedelta(days=DAYS_MAX):
            raise BadRequest(
                400,
                "invalid_parameter",
                f"from must not be after to, and at most {DAYS_MAX} days before it",
                "from",
            )
        metrics = await flow_metrics(connection, workspace, first, last)
    return Answer(msgspec.json.encode(metrics), metrics.position)


def _day(query: dict[str, list[str]], name: str) -> date | None:
    text = one(query, name)
    if text is None:
        return None
    try:
        return msgspec.convert(text, date)
    except msgspec.ValidationError:
        raise BadRequest(400, "invalid_parameter", f"{name} takes a date such as 2012-10-09", name) from None
