"""The filters of lists of tasks as parameters: how they are documented and how they are read."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final, get_args
from uuid import UUID

import msgspec

from api.edge.errors import BadRequest
from api.edge.requests import AnyRequest, named_project, one, required_uuid
from api.openapi.documentation import QueryParameter
from api.openapi.moments import instant_of
from domain.errors import InvalidValue
from domain.project.refusals import no_such_project
from domain.task.values import GivenEstimate, Priority, Status, accepted_estimate
from infrastructure.log.addresses import NOBODY
from projections.tables.words import TERMS_MAX, terms
from projections.task.list_query import Sort, TaskQuery

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
LIST_PARAMETERS: Final = TaskQuery.__struct_fields__
FILTER_NAMES: Final = tuple(name for name in LIST_PARAMETERS if name != "sort")

PROJECT_PARAMETER: Final = QueryParameter(
    "project", str, "In this project: its id, or a key that it has or once had. A key that none has is refused (404)."
)
FILTER_PARAMETERS: Final = (
    QueryParameter("status", list[Status], "Any of these statuses."),
    QueryParameter("priority", list[Priority], "Any of these priorities."),
    QueryParameter("label", list[str], "All of these labels."),
    PROJECT_PARAMETER,
    QueryParameter("assignee", UUID, "Assigned to this principal."),
    QueryParameter("created_by", UUID, "Created by this principal: its owner."),
    QueryParameter("due_from", Instant, "Due at or after."),
    QueryParameter("due_before", Instant, "Due before."),
    QueryParameter("estimate_from", GivenEstimate, "Estimated at so many points or more; tasks without an estimate are not."),
    QueryParameter("estimate_to", GivenEstimate, "Estimated at so many points or fewer; tasks without an estimate are not."),
    QueryParameter("created_from", Instant, "Created at or after."),
    QueryParameter("created_before", Instant, "Created before."),
    QueryParameter(
        "q",
        str,
        "Words in title, description or labels; all must occur. Parts of words count as words (of names with hyphens, "
        "dots or slashes, of paths, addresses and codes), the last one may be the beginning of one. Case and "
        "accents do not "
        "matter, and no sign has a meaning. "
        f"At most {TERMS_MAX} words.",
    ),
    QueryParameter("deleted", bool, "true lists the deleted tasks."),
)
SORT_PARAMETER: Final = QueryParameter(
    "sort",
    Sort,
    "The order; `-` is descending, `-added` the default. `added`: the order in which tasks came into the log; "
    "`created`, `due`: by `created_at` and `due_at`; `priority`, `estimate`: by how urgent and how large they are; "
    "ties are in the order added. Tasks without the value come last.",
)

_REPEATABLE: Final = frozenset({"status", "priority", "label"})


async def asked_project(request: AnyRequest, query: Mapping[str, list[str]]) -> UUID | None:
    """The project that the parameter names, None without it. Raises BadRequest, 404 for a key that none has."""
    text = one(dict(query), "project")
    if text is None:
        return None
    found = await named_project(request, text)
    if found is None:
        raise BadRequest(400, "invalid_parameter", "project takes the id or a key of a project, such as PRJ", "project")
    if found == NOBODY:
        raise BadRequest(404, "project_not_found", no_such_project().message, "project")
    return found


def _points(name: str, text: str) -> float:
    try:
        return accepted_estimate(msgspec.convert(text, float, strict=False))
    except msgspec.ValidationError:
        raise BadRequest(400, "invalid_parameter", f"{name} takes a number of points, such as 2.5", name) from None
    except InvalidValue as refused:
        raise BadRequest(400, "invalid_parameter", f"{name}: {refused.message}", name) from None


_READ: Final[Mapping[str, Callable[[str, str], object]]] = {
    **dict.fromkeys(("assignee", "created_by"), lambda name, text: required_uuid(text, name)),
    **dict.fromkeys(("due_from", "due_before", "created_from", "created_before"), instant_of),
    **dict.fromkeys(("estimate_from", "estimate_to"), _points),
}
"""What is stricter than its type."""


async def task_query(request: AnyRequest, query: Mapping[str, list[str]]) -> TaskQuery:
    """The list that the parameters ask for; raises BadRequest naming the one that is wrong."""
    found: dict[str, object] = {}
    for name in LIST_PARAMETERS:
        if name in _REPEATABLE:
            found[name] = query.get(name, [])
        elif (text := one(dict(query), name)) is not None:
            found[name] = text
    if len(terms(str(found.get("q", "")))) > TERMS_MAX:
        raise BadRequest(400, "invalid_parameter", f"q takes up to {TERMS_MAX} words or parts of words", "q")
    if "project" in found:
        found["project"] = await asked_project(request, query)
    for name, read in _READ.items():
        if isinstance(given := found.get(name), str):
            found[name] = read(name, given)
    try:
        return msgspec.convert(found, TaskQuery, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`").split("[")[0]
        allowed = {"sort": get_args(Sort), "status": get_args(Status), "priority": get_args(Priority)}.get(name, ())
        hint = f"; one of {', '.join(allowed)}" if allowed else ""
        raise BadRequest(400, "invalid_parameter", f"{name}: {reason}{hint}", name) from None
