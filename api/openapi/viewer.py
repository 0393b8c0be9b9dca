"""The documentation page: Swagger UI as the package `offapi` ships it. It works without other sites, and loads from none."""

from functools import cache
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from api.edge.answers import Asset, Bare
from api.edge.compression import VARY
from api.edge.preconditions import matching_tag
from api.edge.requests import AnyRequest, header
from api.openapi.describing import PATH as OPENAPI_PATH

SCRIPT_PATH: Final = "/docs/swagger-ui.js"
STYLE_PATH: Final = "/docs/swagger-ui.css"
START_PATH: Final = "/docs/start.js"
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TaskMaster API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{STYLE_PATH}">
<script defer src="{SCRIPT_PATH}"></script>
<script defer src="{START_PATH}"></script>
</head>
<body>
<div id="swagger-ui"></div>
</body>
</html>
""".encode()
# Without `validatorUrl: null` it would show the description to a site of its makers.
_START: Final = f"""SwaggerUIBundle({{
  url: "{OPENAPI_PATH}", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "list", defaultModelsExpandDepth: 0,
  displayRequestDuration: true, filter: true, persistAuthorization: false, validatorUrl: null,
}});
""".encode()


@cache
def _shipped(name: str) -> bytes:
    """A file of the package. It is not imported: it would read and copy all that it ships, three viewers, into memory."""
    return Path(str(distribution("offapi").locate_file(f"offapi/{name}"))).read_bytes()


@get("/", public=True, not_json=True, sync_to_thread=False)
def start_page() -> ASGIApp:
    """GET /: leads to the documentation."""
    return Bare(307, ((b"location", b"/docs"),))


@get("/docs", public=True, not_json=True, sync_to_thread=False)
def docs_page() -> ASGIApp:
    """GET /docs."""
    return Asset(_PAGE, b"text/html; charset=utf-8", ((b"content-security-policy", _POLICY),))


def _lasting(path: str, name: str | None, media_type: bytes) -> HTTPRouteHandler:
    """GET `path`: a day without asking, then 304 as long as it is the same."""

    @cache
    def content() -> tuple[bytes, str]:
        found = _START if name is None else _shipped(name)
        return found, f'"{sha256(found).hexdigest()[:32]}"'

    @get(path, public=True, not_json=True)
    async def docs_asset(request: AnyRequest) -> ASGIApp:
        found, etag = content()
        lasting = (b"cache-control", b"public, max-age=86400")
        if known := matching_tag(header(request, b"if-none-match"), etag):
            return Bare(304, (lasting, (b"etag", known.encode()), VARY))
        return Asset(found, media_type, (lasting, (b"etag", etag.encode())))

    return docs_asset


docs_routes: Final = [
    start_page,
    docs_page,
    _lasting(SCRIPT_PATH, "swagger_bundle.js", b"text/javascript; charset=utf-8"),
    _lasting(STYLE_PATH, "swagger_style.css", b"text/css; charset=utf-8"),
    _lasting(START_PATH, None, b"text/javascript; charset=utf-8"),
]
