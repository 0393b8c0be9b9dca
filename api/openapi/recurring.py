"""What many routes say alike in their description: parameters, headers, refusals, somebody's id."""

from typing import Annotated, Final
from uuid import UUID

import msgspec

from api.openapi.documentation import HeaderParameter, PathParameter, QueryParameter
from domain.project.values import KEY_PATTERN

SOMEBODY: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
_UUID: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
ID: Final = PathParameter(
    "task_id",
    Annotated[str, msgspec.Meta(pattern=f"^({_UUID}|{KEY_PATTERN[1:-1]}-[1-9][0-9]{{0,17}})$")],
    "The task: its id, or a key of its project and its number there (`PRJ-123`). Keys and numbers that it once had lead to it "
    "as well.",
    required=True,
    example=SOMEBODY,
)
PROJECT: Final = PathParameter(
    "project",
    Annotated[str, msgspec.Meta(pattern=f"^({_UUID}|{KEY_PATTERN[1:-1]})$")],
    "The project: its id, or a key that it has or once had.",
    required=True,
    example=SOMEBODY,
)
KEY: Final = HeaderParameter(
    "Idempotency-Key",
    Annotated[str, msgspec.Meta(min_length=1, max_length=255)],
    "Makes a retry safe: the same key with the same request returns the original receipt byte for byte.",
)
IF_MATCH: Final = HeaderParameter(
    "If-Match",
    str,
    "The version last seen, as ETag gave it. The command is refused (412) only if a field that it changes was changed "
    "since; with `Prefer: handling=strict` after any change.",
)
PREFER_STRICT: Final = HeaderParameter("Prefer", str, "`handling=strict`: with If-Match, refuse after any change at all.")
CORRELATION: Final = HeaderParameter("X-Correlation-Id", UUID, "Ties the resulting events to others in the history.")
RECEIPT_HEADERS: Final = {
    "ETag": "The version after the command.",
    "X-Position": "The position of the command's last event: give it to reads as `min_position`.",
    "Idempotency-Replayed": "`true` where the key brought back an earlier receipt.",
}
COMMAND_ERRORS: Final = {
    400: ["invalid_idempotency_key", "invalid_if_match", "invalid_uuid"],
    403: ["not_permitted"],
    503: ["log_unavailable"],
}
MIN_POSITION: Final = QueryParameter(
    "min_position",
    Annotated[int, msgspec.Meta(ge=0)],
    "Answer with nothing older than this position (the `X-Position` of a write): waits for the read model if it must, "
    "and answers 503 with Retry-After if it takes too long. A cursor of `changes` is taken too, and held against the log.",
)
PREFER_WAIT: Final = HeaderParameter("Prefer", str, "`wait=seconds`: wait less long for `min_position` than the server would.")
X_POSITION: Final = {"X-Position": "The position that this answer reflects."}
READ_ERRORS: Final = {
    400: ["invalid_parameter", "repeated_parameter"],
    409: ["another_history"],
    422: ["position_in_the_future"],
    503: ["not_yet_applied", "log_unavailable"],
}
