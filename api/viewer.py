"""The documentation page: works without any other site, and may not load from one."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from litestar import get
from litestar.types import ASGIApp

from api.answers import Asset, Bare
from api.compression import VARY
from api.openapi import PATH as OPENAPI_PATH
from api.preconditions import matching_tag
from api.requests import AnyRequest, header

SCRIPT_PATH: Final = "/docs/rapidoc-min.js"
_SCRIPT: Final = Path(__file__).with_name("static") / "rapidoc-min.js"
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
<script type="module" src="{SCRIPT_PATH}"></script>
<style>html, body {{ margin: 0; height: 100%; }}</style>
</head>
<body>
<rapi-doc spec-url="{OPENAPI_PATH}" load-fonts="false" regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace"
 render-style="read" show-header="false" allow-spec-url-load="false" allow-spec-file-load="false" allow-server-selection="false"
 persist-auth="false" schema-description-expanded="true"></rapi-doc>
</body>
</html>
""".encode()


@cache
def _script() -> tuple[bytes, str]:
    content = _SCRIPT.read_bytes()
    return content, f'"{sha256(content).hexdigest()[:32]}"'


@get("/", public=True, not_json=True, sync_to_thread=False)
def start_page() -> ASGIApp:
    """GET /: leads to the documentation."""
    return Bare(307, ((b"location", b"/docs"),))


@get("/docs", public=True, not_json=True, sync_to_thread=False)
def docs_page() -> ASGIApp:
    """GET /docs."""
    return Asset(_PAGE, b"text/html; charset=utf-8", ((b"content-security-policy", _POLICY),))


@get(SCRIPT_PATH, public=True, not_json=True)
async def docs_script(request: AnyRequest) -> ASGIApp:
    """GET /docs/rapidoc-min.js: a day without asking, then 304 as long as it is the same."""
    content, etag = _script()
    lasting = (b"cache-control", b"public, max-age=86400")
    if known := matching_tag(header(request, b"if-none-match"), etag):
        return Bare(304, (lasting, (b"etag", known.encode()), VARY))
    return Asset(content, b"text/javascript; charset=utf-8", (lasting, (b"etag", etag.encode())))
