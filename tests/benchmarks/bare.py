"""The bare Litestar application that ours is compared with: the same routes, and nothing behind them."""

import os
from pathlib import Path

import msgspec
from litestar import Litestar, get, post

PAGE_FILE = "TASKMASTER_BENCHMARK_PAGE"
"""The environment variable that names the file with the page that is served."""


class NewTask(msgspec.Struct):
    """The body of a creation."""

    title: str
    description: str = ""
    priority: str = "none"
    due_at: str | None = None
    labels: list[str] = []


class TaskReceipt(msgspec.Struct):
    """The answer to a creation, of the same size as ours."""

    task_id: str
    version: int
    position: int


@post("/api/v1/tasks")
async def create_task(data: NewTask) -> TaskReceipt:
    """Decode the body, encode a receipt."""
    return TaskReceipt("01a20146-4bd6-744e-9ad8-751dcd5b7347", 1, 1)


def create_app() -> Litestar:
    """The application; serves the bytes of the file that PAGE_FILE names."""
    page = Path(os.environ[PAGE_FILE]).read_bytes()

    @get("/api/v1/tasks", media_type="application/json")
    async def list_tasks() -> bytes:
        return page

    return Litestar([create_task, list_tasks])
