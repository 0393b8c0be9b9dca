"""The documentation page works without any other site."""

import re
import sys

import pytest

from tests.api_world import Api

ASSETS = {
    "/docs/swagger-ui.css": "text/css",
    "/docs/swagger-ui.js": "text/javascript",
    "/docs/start.js": "text/javascript",
}


def test_the_page_loads_only_from_here(api: Api) -> None:
    answer = api.request("GET", "/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text
    assert re.findall(r'(?:src|href)="([^"]*)"', answer.text) == ["data:,", *ASSETS]
    assert not re.search(r"<script(?! defer src=)|<style| on[a-z]+=", answer.text)


def test_the_page_starts_with_this_description_and_asks_no_other_site_about_it(api: Api) -> None:
    start = api.request("GET", "/docs/start.js").text
    assert 'url: "/schema/openapi.json"' in start
    assert "validatorUrl: null" in start
    assert "//" not in start


def test_the_page_may_load_only_from_here(api: Api) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in api.request("GET", "/docs").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert {policy[name] for name in ("connect-src", "font-src")} == {"'self'"}
    assert all("*" not in sources and "http" not in sources for sources in policy.values())


@pytest.mark.parametrize("path", ASSETS)
def test_what_the_page_is_made_of_is_kept_by_browsers_until_it_changes(api: Api, path: str) -> None:
    answer = api.request("GET", path)
    assert answer.headers["content-type"].startswith(ASSETS[path])
    assert answer.headers["cache-control"] == "public, max-age=86400"
    again = api.request("GET", path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_scripts_and_styles_fetch_nothing_by_themselves(api: Api) -> None:
    style = api.request("GET", "/docs/swagger-ui.css").text
    assert all(url.startswith(("data:", "'data:", '"data:')) for url in re.findall(r"url\(([^)]{0,20})", style))
    assert "@import" not in style
    script = api.request("GET", "/docs/swagger-ui.js").text
    assert "SwaggerUIBundle" in script
    assert not re.search(r"""(?:import\s*\(|importScripts\(|src\s*=\s*)["']https?://""", script)


def test_the_package_that_ships_the_viewer_is_read_and_not_imported(api: Api) -> None:
    api.request("GET", "/docs/swagger-ui.js")
    assert "offapi" not in sys.modules


@pytest.mark.parametrize(
    "path", ["/schema", "/schema/redoc", "/schema/swagger", "/schema/rapidoc", "/schema/elements", "/docs/x"]
)
def test_there_is_no_page_that_loads_from_elsewhere(api: Api, path: str) -> None:
    assert api.request("GET", path).status_code == 404
