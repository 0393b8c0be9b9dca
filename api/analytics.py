"""Routes for analytics consumers: flow metrics over any part of the past."""

from datetime import UTC, date, datetime

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.errors import BadRequest
from api.edge.pages import freshness
from api.edge.requests import AnyRequest, log_of, one, principal, query_of
from api.openapi.documentation import QueryParameter, documented
from api.openapi.recurring import MIN_POSITION, PREFER_WAIT, READ_ERRORS, X_POSITION
from api.openapi.task_queries import PROJECT_PARAMETER, asked_project
from projections.flow import DAYS_MAX, FlowMetrics, FlowQuery, flow_metrics


@get(
    "/analytics/flow",
    limited_as="reports",
    **documented(
        operation_id="getFlowMetrics",
        summary="Flow metrics",
        description="Per UTC day: its throughput (`completed`: tasks completed on it that stand so), the events of the day, "
        "how many tasks were open and how many under way at its end. Over the span: lead time (creation to completion) and "
        "cycle time (first start to completion) of the tasks that stand completed and are not deleted, in seconds, as "
        "percentiles 50, 85 and 95, and how many of them were completed without a start. Reopening, deleting and restoring "
        "move the numbers. Of a project: what happened in it, and what stands completed or is open in it by then; a moved task "
        "takes its completion with it. "
        "Imported history counts when it happened; what is dated after it was recorded, or before what happened earlier to its "
        f"task, counts at that moment. An answer covers {DAYS_MAX:,} days at most; `first_day` and `last_day` say which.",
        responses={200: FlowMetrics},
        errors=READ_ERRORS | {404: ["project_not_found"]},
        parameters=[
            QueryParameter(
                "first_day",
                date,
                "The first day; that of the workspace's first event by default, or as far back as an answer can reach.",
            ),
            QueryParameter(
                "last_day",
                date,
                "The last day; that of the workspace's last event by default, or as far on as an answer can reach.",
            ),
            PROJECT_PARAMETER,
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION},
    ),
)
async def get_flow(request: AnyRequest) -> ASGIApp:
    """GET /analytics/flow."""
    query = query_of(request, "first_day", "last_day", "project", "min_position")
    first, last = _day(query, "first_day"), _day(query, "last_day")
    if first and last and (first > last or (last - first).days >= DAYS_MAX):
        detail = f"first_day must not be after last_day, and the days from one to the other may be {DAYS_MAX:,} at most"
        raise BadRequest(400, "invalid_parameter", detail, "first_day")
    project = await asked_project(request, query)
    wait = await freshness(request, query)
    today = datetime.now(UTC).date()
    wanted = FlowQuery(workspace_id=principal(request).workspace_id, project=project, first_day=first, last_day=last)
    metrics = await log_of(request).reads.read("flow", lambda connection: flow_metrics(connection, wanted, today), wait)
    return Answer(msgspec.json.encode(metrics), metrics.position)


def _day(query: dict[str, list[str]], name: str) -> date | None:
    text = one(query, name)
    if text is None:
        return None
    try:
        return msgspec.convert(text, date)
    except msgspec.ValidationError:
        raise BadRequest(400, "invalid_parameter", f"{name} takes a date such as 2012-10-09", name) from None
