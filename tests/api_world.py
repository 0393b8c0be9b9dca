"""What the HTTP tests stand on: the whole application in process over real servers, driven from plain functions.

The application runs on an event loop of its own in a thread, inside its lifespan, so that tests, specifications and
Hypothesis stay synchronous. Nothing advances the read models unless a test says so: `Api.catch_up`.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import psycopg
from litestar import Litestar

from api.app import create_app, describe
from application.log import Append, NewEvent
from application.principal import Principal, Role
from domain.task.events import TaskEvent
from infrastructure.bootstrap import LogResources, Resources
from infrastructure.identity.tokens import KeyRing, TokenIssuer
from infrastructure.log.rows import Record
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from infrastructure.settings import Settings
from tests.api_contract import Contract
from tests.raw_http import RawAnswer

SECRET = "a secret of the tests, long enough to sign with"
OPERATOR = "the operator of the tests, who may see how far it is"
PASSWORD = "correct horse battery"
ROOT = "/api/v1"

Headers = Mapping[str, str | bytes] | Mapping[str, str] | list[tuple[str, str]]
T = TypeVar("T")


class Api:
    """A served application. `request` is one HTTP exchange; `catch_up` brings the read models to the log's head."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app: Litestar = create_app(settings)
        self.contract = Contract(_described())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api", daemon=True)
        self._ready = threading.Event()
        self._done = asyncio.Event()
        self._served: Future[None]
        self._projecting = LogProjecting(settings.database_url, settings.redis_url, settings.log_name)
        self._client: httpx.AsyncClient

    def start(self) -> None:
        self._thread.start()
        self._served = asyncio.run_coroutine_threadsafe(self._serve(), self._loop)
        while not self._ready.wait(0.05):
            if self._served.done():
                self._served.result()

    async def _serve(self) -> None:
        # One task from beginning to end: a lifespan has to be left by the task that entered it.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with (
            self.app.lifespan(),
            httpx.AsyncClient(transport=transport, base_url="http://taskmaster.example", timeout=30) as self._client,
        ):
            self._ready.set()
            await self._done.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._served.result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._projecting.close()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine on the application's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        self._client.cookies.clear()
        # Always the same, so that two answers can be compared whole.
        options["headers"] = {"X-Request-Id": "a-test"} | dict(options.get("headers") or {})
        answer = self.run(self._client.request(method, path, **options))
        self.contract.check(method, answer.request.url.path, answer)
        return answer

    def exchange(
        self,
        method: str,
        path: str,
        headers: Headers,
        *chunks: bytes | None,
        query: bytes = b"",
        client: str = "192.0.2.7",
    ) -> httpx.Response:
        """One exchange byte by byte as the server hands it over, past every client that would put things right.

        The body comes in `chunks`, where None is the end of the connection; without a Content-Length among the headers that
        is a chunked transfer.
        """
        start, content = self.run(self._exchange(_scope(method, path, headers, query, client), deque(chunks or [b""])))
        return httpx.Response(start["status"], headers=start["headers"], content=content)

    def sent(self, method: str, path: str, headers: Headers) -> RawAnswer:
        """The answer as it goes out, which no client has decompressed."""
        start, content = self.run(self._exchange(_scope(method, path, headers, b""), deque([b""])))
        return RawAnswer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, content)

    async def _exchange(self, scope: dict[str, Any], chunks: deque[bytes | None]) -> tuple[dict[str, Any], bytes]:
        sent: list[Any] = []

        async def receive() -> Any:
            chunk = chunks.popleft() if chunks else None
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)  # type: ignore[arg-type]  # written out instead of typed
        start, *bodies = sent
        content = b"".join(body.get("body", b"") for body in bodies)
        return start, content

    def begin(self, request: httpx.Request) -> Future[httpx.Response]:
        """An exchange that goes on while the test does."""
        return asyncio.run_coroutine_threadsafe(self._client.send(request), self._loop)

    def together(self, requests: list[httpx.Request]) -> list[httpx.Response]:
        """Several exchanges at once."""

        async def all_of_them() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._client.send(request) for request in requests)))

        return self.run(all_of_them())

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        return self._client.build_request(method, path, **options)

    def catch_up(self) -> None:
        for projector in PROJECTORS:
            self._projecting.run(projector)

    @property
    def resources(self) -> Resources:
        opened: Resources = self.app.state.resources
        return opened

    @property
    def log(self) -> LogResources:
        return self.resources.logs[self.settings.log_name]

    def readiness(self) -> dict[str, Any]:
        """What the operator is told."""
        answer = self.request("GET", "/readyz", headers={"Authorization": f"Bearer {OPERATOR}"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found["details"]

    def head(self) -> int:
        return self.run(self.log.store.head())

    def events(self, task_id: UUID, after: int = 0) -> list[Record]:
        return self.run(self.log.store.events_of(task_id, after))

    def execute(self, statement: str, *arguments: object) -> None:
        """A statement against the control schema."""
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute(statement.encode(), arguments)

    def register(self, name: str = "ada") -> "User":
        body = {"email": f"{name}.{uuid4().hex}@example.org", "password": PASSWORD, "display_name": name.title()}
        answer = self.request("POST", f"{ROOT}/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        return User(self, body["email"], answer.json())


def _scope(method: str, path: str, headers: Headers, query: bytes, client: str = "192.0.2.7") -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    raw = [(n.lower().encode(), v if isinstance(v, bytes) else v.encode()) for n, v in pairs]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": raw,
        "client": (client, 4711),
        "server": ("taskmaster.example", 80),
    }


class User:
    """Somebody with an access token. Paths are relative to the API's root."""

    def __init__(self, api: Api, email: str, tokens: dict[str, Any]) -> None:
        self.api = api
        self.email = email
        self.tokens = tokens
        self.headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        self.principal_id = UUID(tokens["principal_id"])
        self.workspace_id = UUID(tokens["workspace_id"])

    def acting_as(self, role: Role, seconds: int = 600) -> "User":
        """The same person with a good token of another role."""
        session = UUID(self.tokens["session_id"])
        expires_at = int(time.time()) + seconds
        principal = Principal(self.principal_id, session, self.workspace_id, self.api.settings.log_name, role, expires_at)
        token = TokenIssuer(KeyRing(self.api.settings.secret_key)).access_token(principal, int(time.time()))
        return User(self.api, self.email, self.tokens | {"access_token": token})

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | dict(options.pop("headers", None) or {})
        return self.api.request(method, ROOT + path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, json=body, **options)

    def patch(self, path: str, body: object, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, json=body, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    def task(self, title: str = "Ship it", **fields: object) -> UUID:
        """A new task's id."""
        answer = self.post("/tasks", {"title": title, **fields})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["stream_id"])

    def shown(self, task_id: UUID) -> dict[str, Any]:
        """The task as the API shows it once every read model has caught up."""
        self.api.catch_up()
        answer = self.get(f"/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def record(self, *events: TaskEvent, task_id: UUID | None = None, effective_at: Any = None, after: int = 0) -> UUID:
        """Write a history straight into the log, whether or not today's rules allow it."""
        stream = task_id or uuid4()
        news = tuple(NewEvent(stream, after + number, event, effective_at) for number, event in enumerate(events, 1))
        append = Append(
            workspace_id=self.workspace_id,
            principal_id=self.principal_id,
            command_id=uuid4(),
            correlation_id=uuid4(),
            causation_id=None,
            events=news,
            receipt_start="{",
        )
        self.api.run(self.api.log.store.append(append))
        return stream


class World:
    """One API with two users in workspaces of their own."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.ada = api.register("ada")
        self.eve = api.register("eve")


@cache
def _described() -> dict[str, Any]:
    return describe()


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """The application, served until the end of the block."""
    api = Api(settings)
    api.start()
    try:
        yield api
    finally:
        api.stop()


def problem(answer: httpx.Response, status: int, code: str | None = None, pointer: str | None = None) -> dict[str, Any]:
    """Assert that the answer is a whole RFC 9457 document with this status, code and pointer, and return it."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"] == f"urn:taskmaster:problem:{found['code']}"
    assert found["title"]
    assert found["detail"]
    if code is not None:
        assert found["code"] == code, found
    if pointer is not None:
        assert pointer in [error["pointer"] for error in found.get("errors", [])], found
    return found
