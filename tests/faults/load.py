"""Clients under faults: each issues commands on tasks of its own, repeats them with the same key until they are settled, and
remembers everything it was told.
"""

import asyncio
import json
import random
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from application.principal import Principal
from infrastructure.identity.tokens import KeyRing, TokenIssuer
from infrastructure.settings import Settings
from tests.faults.gateway import Gateway, Unanswered

SETTLE_SECONDS = 60.0
EXPIRES_AT = 4_000_000_000


class Issued(msgspec.Struct):
    """A command as a client knows it. Its key is also the reason in every event that it causes: by it the events are found
    again without help of what is under test."""

    key: str
    method: str
    path: str
    body: bytes
    workspace: UUID
    events: int
    version: int
    receipt: bytes | None = None
    refused: str | None = None
    unknown: int = 0
    unavailable: int = 0


class Seen(msgspec.Struct, frozen=True):
    """One answer to a read: what was asked, the position it claims to reflect, its content, and the host that gave it."""

    kind: str
    workspace: UUID
    task: str | None
    least: int
    position: int
    body: Any
    by: str = ""


class Client:
    """One user in a workspace of his own."""

    def __init__(self, name: str, gateway: Gateway, settings: Settings, seed: str) -> None:
        self.workspace, self.principal = uuid4(), uuid4()
        self.issued: list[Issued] = []
        self.seen: list[Seen] = []
        self.unread: list[str] = []
        self.newest = 0
        self.tasks: list[_Task] = []
        self._name = name
        self._gateway = gateway
        self._random = random.Random(f"{seed} {name}")
        principal = Principal(self.principal, uuid4(), self.workspace, settings.log_name, "owner", EXPIRES_AT)
        token = TokenIssuer(KeyRing(settings.secret_key)).access_token(principal, 1_600_000_000)
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    async def work(self, stop: asyncio.Event, with_key: bool = True, only_create: bool = False, pause: float = 0.0) -> None:
        """Issue commands one after the other, with a pause between them in seconds, until `stop`."""
        while not stop.is_set():
            issued, task = self._next(only_create)
            self.issued.append(issued)
            await self.settle(issued, with_key)
            if issued.receipt is not None:
                self._learn(issued, task)
            if pause:
                await asyncio.sleep(pause)

    async def read(self, stop: asyncio.Event, pause: float) -> None:
        """Read until `stop`: mostly what must show the newest acknowledged command, sometimes whatever there is."""
        while not stop.is_set():
            await self.look(self.newest if self._random.random() < 0.6 else 0)
            await asyncio.sleep(pause)

    async def look(self, least: int, kind: str = "") -> int:
        """One read; returns the status, 0 where nobody answered."""
        kind = kind or self._random.choice(("list", "counts", "task"))
        task = self._random.choice(self.tasks).id if kind == "task" and self.tasks else None
        path = {"list": "/api/v1/tasks", "counts": "/api/v1/tasks/counts"}.get(kind, f"/api/v1/tasks/{task}")
        if kind == "task" and task is None:
            return 0
        try:
            answer = await self._gateway.send("GET", f"{path}?min_position={least}" if least else path, self._headers)
        except Unanswered:
            return 0
        if answer.status_code == 200:
            body, position = json.loads(answer.content), int(answer.headers["x-position"])
            self.seen.append(Seen(kind, self.workspace, task, least, position, body, answer.request.url.host))
        elif answer.status_code != 503 and not (answer.status_code == 404 and not least):
            self.unread.append(f"GET {path} min_position={least}: {answer.status_code} {answer.text[:200]}")
        return int(answer.status_code)

    async def get(self, path: str, prefer: str = "", to: str = "") -> httpx.Response:
        """Any read; raises Unanswered."""
        return await self._gateway.send("GET", path, self._headers | ({"prefer": prefer} if prefer else {}), to=to)

    async def post(self, path: str, body: Any, to: str = "") -> httpx.Response:
        """Any command, once and without a key; raises Unanswered."""
        return await self._gateway.send("POST", path, self._headers, json.dumps(body).encode(), to)

    async def order(self, method: str, path: str, fields: dict[str, Any], version: int, to: str = "") -> dict[str, Any]:
        """Issue one command that causes one event, to the release `to` if one is named; its receipt."""
        key = f"{self._name}-{len(self.issued)}"
        issued = self._issue(method, path, fields | {"reason": key}, key, 1, version - 1)
        self.issued.append(issued)
        await self.settle(issued, to=to)
        self._learn(issued, None)
        receipt: dict[str, Any] = json.loads(issued.receipt or b"{}")
        return receipt

    async def settle(self, issued: Issued, with_key: bool = True, to: str = "") -> None:
        """Send the command until there is an answer that says what became of it."""
        headers = self._headers | ({"idempotency-key": issued.key} if with_key else {})
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    answer = await self._gateway.send(issued.method, issued.path, headers, issued.body, to)
                except Unanswered:
                    issued.unknown += 1
                else:
                    if answer.status_code in (200, 201):
                        issued.receipt = answer.content
                        return
                    if answer.status_code != 503:
                        issued.refused = f"{answer.status_code} {answer.text[:300]}"
                        return
                    issued.unavailable += 1
                await asyncio.sleep(0.01)

    async def ask_again(self, issued: Issued) -> bytes:
        """The receipt that the command's key brings back now."""
        again = msgspec.structs.replace(issued, receipt=None, refused=None)
        await self.settle(again)
        return again.receipt if again.receipt is not None else (again.refused or "").encode()

    def _next(self, only_create: bool) -> "tuple[Issued, _Task | None]":
        key = f"{self._name}-{len(self.issued)}"
        if only_create or len(self.tasks) < 3 or self._random.random() < 0.3:
            return self._issue("POST", "/api/v1/tasks", {"title": key, "reason": key}, key, 1, 0), None
        # The first one is left as it is: what a trial takes of it in Redis, no change under way writes anew.
        task = self._random.choice(self.tasks[1:][-12:])
        verb, fields, events = task.choose(self._random, key)
        path = f"/api/v1/tasks/{task.id}"
        method = {"change": "PATCH", "delete": "DELETE"}.get(verb, "POST")
        return self._issue(
            method, path if method != "POST" else f"{path}/{verb}", fields | {"reason": key}, key, events, task.version
        ), task

    def _issue(self, method: str, path: str, body: dict[str, Any], key: str, events: int, version: int) -> Issued:
        return Issued(key, method, path, json.dumps(body).encode(), self.workspace, events, version + events)

    def _learn(self, issued: Issued, task: "_Task | None") -> None:
        receipt = json.loads(issued.receipt or b"{}")
        self.newest = max(self.newest, receipt["position"])
        if task is None:
            self.tasks.append(_Task(receipt["stream_id"]))
        else:
            task.version = receipt["version"]


class _Task:
    """As much of a task as its only user has to know to say what a command will do."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.version = 1
        self.status = "open"
        self.deleted = False
        self.labels = 0

    def choose(  # noqa: PLR0911 - one line a command
        self, chance: random.Random, key: str
    ) -> tuple[str, dict[str, Any], int]:
        """A command that is allowed now: its route, its fields, and how many events it must cause."""
        if self.deleted:
            self.deleted = False
            return "restore", {}, 1
        verb = chance.choice(("rename", "describe", "complete", "change", "add-label", "delete", "start"))
        match verb:
            case "rename":
                return verb, {"title": f"renamed {key}"}, 1
            case "describe":
                return verb, {"description": f"described by {key}"}, 1
            case "change":
                return verb, {"title": f"changed {key}", "description": f"changed by {key}"}, 2
            case "add-label" if self.labels < 40:
                self.labels += 1
                return verb, {"label": key}, 1
            case "delete":
                self.deleted = True
                return verb, {}, 1
            case "start" if self.status != "completed":
                begun, self.status = self.status, "in_progress"
                return verb, {}, int(begun != "in_progress")
            case _ if self.status == "completed":
                self.status = "open"
                return "reopen", {}, 1
            case _:
                self.status = "completed"
                return "complete", {}, 1
