"""The documentation page works without any other site."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from api import viewer
from tests.api_world import Api

STATIC = Path(viewer.__file__).with_name("static")


def test_the_page_loads_only_from_here(api: Api) -> None:
    answer = api.request("GET", "/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text
    assert 'load-fonts="false"' in answer.text
    loaded = re.findall(r'(?:src|href|spec-url)="([^"]*)"', answer.text)
    assert loaded == ["data:,", "/docs/rapidoc-min.js", "/schema/openapi.json"]
    for path in loaded[1:]:
        assert api.request("GET", path).status_code == 200


def test_the_page_may_load_only_from_here(api: Api) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in api.request("GET", "/docs").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert {policy[name] for name in ("connect-src", "font-src")} == {"'self'"}
    assert all("*" not in sources and "http" not in sources for sources in policy.values())


def test_the_script_is_kept_by_browsers_until_it_changes(api: Api) -> None:
    answer = api.request("GET", "/docs/rapidoc-min.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=86400"
    again = api.request("GET", "/docs/rapidoc-min.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_script_is_the_one_that_was_vendored() -> None:
    content = (STATIC / "rapidoc-min.js").read_bytes()
    note = (STATIC / "README.md").read_text()
    assert sha256(content).hexdigest() in note
    assert b"sourceMappingURL" not in content
    assert "MIT License" in (STATIC / "rapidoc-LICENSE.txt").read_text()


def test_the_script_loads_nothing_by_itself() -> None:
    """The only resources it names are the two fonts that `load-fonts="false"` leaves out."""
    script = (STATIC / "rapidoc-min.js").read_text()
    urls = set(re.findall(r"""url\(["']?(https?://[^)"']+)""", script))
    assert {url.split("/")[2] for url in urls} <= {"fonts.gstatic.com"}
    assert not re.search(r"""(?:import\s*\(|importScripts\(|src\s*=\s*)["']https?://""", script)


@pytest.mark.parametrize(
    "path", ["/schema", "/schema/redoc", "/schema/swagger", "/schema/rapidoc", "/schema/elements", "/docs/x"]
)
def test_there_is_no_page_that_loads_from_elsewhere(api: Api, path: str) -> None:
    assert api.request("GET", path).status_code == 404
