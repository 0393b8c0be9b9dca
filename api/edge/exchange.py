"""One request on its way through the edge: what was found out about it, and the one way in which it is answered."""

import logging
import re
from random import getrandbits
from typing import Any, Final

import msgspec
from litestar.types import HTTPScope, Message, Send

from api.edge.answers import SECURITY_HEADERS, CompleteHeaders
from api.edge.authentication import require_access_still
from api.edge.errors import problem_of
from api.edge.headers import joined
from api.edge.log_lines import REQUEST_ID
from api.edge.problem import PROBLEM_JSON
from api.edge.routing import Place, Registered
from application.principal import Principal

logger = logging.getLogger("taskmaster.api")

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")

_NO_CODE: Final = "-"

Header = tuple[bytes, bytes]


class Exchange:
    """A request and its answer. Whatever decides about the request reads and sets these:

    `headers`: the request's, by lower-case name; `repeated`: one that stands twice and may not; `place` and `route`: what the
    path and the method lead to, None where there is no such; `principal`: who asks, None without a verified token; `refusal`:
    for what the request will be refused unless somebody refuses it for something else first; `answer_headers`: added to the
    answer, whatever it will be; `is_preflight`: a browser asks, for a page of an origin that is allowed, what it may ask for.
    """

    __slots__ = (
        "_code",
        "_logs_all",
        "_send",
        "answer_headers",
        "headers",
        "is_answered",
        "is_head",
        "is_preflight",
        "method",
        "place",
        "principal",
        "refusal",
        "repeated",
        "request_id",
        "route",
        "scope",
    )

    def __init__(self, scope: HTTPScope, send: Send, *, logs_all: bool = False) -> None:
        self._logs_all = logs_all
        self.scope = scope
        self._send = send
        sent: Any = scope["headers"]
        self.headers: dict[bytes, bytes] = dict(sent)
        self.repeated: str | None = None
        if len(self.headers) < len(sent):
            scope["headers"], self.repeated = joined(sent)
            self.headers = dict(scope["headers"])
        given = self.headers.get(b"x-request-id")
        sane = given is not None and _SANE_ID.fullmatch(given)
        # Ids tell requests apart and keep no secret: the system's source of randomness would cost a call a request.
        self.request_id = given.decode() if given is not None and sane else f"{getrandbits(96):024x}"
        REQUEST_ID.set(self.request_id)
        scope["state"]["request_id"] = self.request_id
        if b"accept-encoding" in self.headers:
            scope["state"]["accept_encoding"] = self.headers[b"accept-encoding"]
        self.answer_headers: list[Header] = [(b"x-request-id", self.request_id.encode())]
        self.method = scope["method"]
        self.is_head = self.method == "HEAD"
        self.is_answered = False
        self.is_preflight = False
        self.place: Place | None = None
        self.route: Registered | None = None
        self.principal: Principal | None = None
        self.refusal: Exception | None = None
        self._code = _NO_CODE

    @property
    def client(self) -> str:
        """The address of whoever is connected; empty where there is none, as on a Unix socket."""
        client = self.scope["client"]
        return client[0] if client else ""

    async def send(self, message: Message) -> None:
        """Send on an answer's message with what every answer carries."""
        if message["type"] == "http.response.start":
            if self._code == _NO_CODE:
                await require_access_still(self.scope)
            self.is_answered = True
            message["headers"] = self._completed(message["headers"])
            if message["status"] >= 400 or self._logs_all:
                self._log(message["status"])
        elif self.is_head and message["type"] == "http.response.body":
            message["body"] = b""
        await self._send(message)

    def _completed(self, headers: Any) -> list[Header]:
        if type(headers) is CompleteHeaders and self.principal is not None:
            return [*headers, *self.answer_headers]
        # Where the log stands tells what all tenants write: nothing of it goes to whoever showed no token.
        kept = [pair for pair in headers if pair[0] != b"x-position" or self.principal is not None]
        present = {name for name, _ in kept}
        return [*kept, *(pair for pair in SECURITY_HEADERS if pair[0] not in present), *self.answer_headers]

    async def refuse(self, error: Exception) -> None:
        """The one way in which a request is refused, whoever refuses it: a problem document, and a line in the log."""
        problem, headers = problem_of(error)
        self._code = problem.code
        if problem.code == "internal_error":
            logger.error("%s %s failed", self.method, self.scope["path"], exc_info=error)
        body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=self.request_id))
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        encoded += [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _log(self, status: int) -> None:
        # Neither query nor body: both may hold secrets.
        asking = self.principal.principal_id if self.principal is not None else "-"
        level = logging.INFO if status < 500 else logging.WARNING
        path = self.scope.get("raw_path", b"").decode("latin-1")[:500]
        logger.log(level, "%d %s %s %s client=%s principal=%s", status, self._code, self.method, path, self.client, asking)
