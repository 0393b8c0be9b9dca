"""The HTTP process: every route, registered once, and the resources behind them."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from litestar import Litestar, Router

from api.accounts import account_routes
from api.analytics import get_flow
from api.batches import batch_tasks
from api.differences import diff_tasks
from api.edge.admission import Admission
from api.edge.compression import CompressedBodies
from api.edge.cursors import CursorSigner
from api.edge.front import Edge
from api.edge.log_lines import log_to_standard_error
from api.edge.turns import Turns
from api.health import healthz, readyz
from api.history import get_changes, get_history, get_project_history
from api.members import list_members
from api.openapi.describing import openapi_document, openapi_route
from api.openapi.viewer import docs_routes
from api.project_commands import PROJECT_COMMAND_ROUTES
from api.projects import get_one_project, list_projects
from api.sessions import session_routes
from api.task_commands import COMMAND_ROUTES
from api.tasks import count_tasks, get_task, list_tasks
from infrastructure.bootstrap import Resources, open_resources
from infrastructure.processes.failpoints import arm
from infrastructure.settings import Settings, cors_origins, load_settings

OpenResources = Callable[[Settings], AbstractAsyncContextManager[Resources]]


def create_app(settings: Settings | None = None, opener: OpenResources = open_resources) -> Litestar:
    """The ASGI application. `settings` are read from the environment where they are not given."""
    chosen = settings or load_settings()
    arm(chosen.failpoint)
    log_to_standard_error()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with opener(chosen) as resources:
            app.state.resources = resources
            app.state.cursors = CursorSigner(chosen)
            app.state.compressed = CompressedBodies(chosen.compressed_cache_bytes)
            admission.open(resources)
            # Only now: whoever builds on this application may have registered more.
            edge.learn_routes()
            edge.draining = resources.draining
            # What was made until here lives as long as the process: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            yield

    app = Litestar(
        route_handlers=[*_documented_routes(), openapi_route(describe), *docs_routes],
        lifespan=[lifespan],
        openapi_config=None,
        # Litestar's own would put a handler of another form on the root logger.
        logging_config=None,
        request_max_body_size=chosen.max_batch_bytes,
        debug=False,
    )
    admission = Admission()
    edge = Edge(
        app,
        Turns(chosen.max_waiting_requests),
        admission,
        origins=cors_origins(chosen),
        logs_all=chosen.access_log,
    )
    app.asgi_handler = edge
    return app


def describe() -> dict[str, Any]:
    """The OpenAPI document of every route that clients use."""
    # Without `logging_config=None` whoever asks first would give the log of the whole process Litestar's form.
    return openapi_document(Litestar(_documented_routes(), openapi_config=None, logging_config=None).routes)


def _documented_routes() -> list[Any]:
    commands = [*COMMAND_ROUTES, batch_tasks, *PROJECT_COMMAND_ROUTES]
    version_1 = Router(
        "/api/v1",
        route_handlers=[
            account_routes,
            session_routes,
            Router("/", route_handlers=[list_tasks, get_task, count_tasks, diff_tasks], tags=["Tasks"]),
            Router("/", route_handlers=[list_projects, get_one_project], tags=["Projects"]),
            Router("/", route_handlers=commands, tags=["Commands"]),
            Router("/", route_handlers=[get_history, get_project_history, get_changes, list_members], tags=["History"]),
            Router("/", route_handlers=[get_flow], tags=["Analytics"]),
        ],
    )
    return [version_1, Router("/", route_handlers=[healthz, readyz], tags=["Operation"])]
