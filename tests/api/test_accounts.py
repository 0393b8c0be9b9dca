"""The account routes over HTTP, from the real use cases down to a real database."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from httpx import ASGITransport, AsyncClient, Response
from litestar import Litestar, Router
from litestar import Response as Answer
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from redis.asyncio import Redis

from api.accounts import account_routes
from api.edge.errors import BadRequest, problem_of
from api.sessions import session_routes
from domain.errors import DomainError, InvalidValue, NotAuthenticated, NotFound, RuleViolated
from infrastructure.identity.tokens import InvalidToken
from infrastructure.limits.budgets import Budgets
from infrastructure.limits.client_address import ClientAddresses
from infrastructure.limits.limiter import Limiter
from infrastructure.limits.limits import Limits
from infrastructure.settings import Settings as Configured
from tests.accounts_world import EMAIL, PASSWORD, SECRET, World, open_world

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

API = "/api/v1"
REGISTRATION = {"email": EMAIL, "password": PASSWORD, "display_name": "Ada"}
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}
STATUSES: dict[type[Exception], int] = {
    InvalidValue: 422,
    NotAuthenticated: 401,
    NotFound: 404,
    RuleViolated: 409,
}


class Settings(msgspec.Struct):
    secure_cookies: bool = True
    body_seconds: float = 30.0
    body_idle_seconds: float = 30.0


class Resources(msgspec.Struct):
    accounts: Any
    verifier: Any
    settings: Settings = msgspec.field(default_factory=Settings)
    # No budget, and so nothing that would be asked of Redis.
    limits: Any = msgspec.field(default_factory=lambda: Limits(Limiter(Redis()), Budgets(), SECRET))
    addresses: Any = msgspec.field(default_factory=lambda: ClientAddresses(Configured()))


class BearerAuthentication(AbstractAuthenticationMiddleware):
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        world: World = connection.app.state.world
        try:
            principal = world.verifier.verify(token if scheme == "Bearer" else "", world.clock.timestamp())
        except InvalidToken as error:
            raise NotAuthenticated(error.code, "No good access token.") from error
        return AuthenticationResult(user=principal, auth=None)


def refused(_: Any, error: DomainError) -> Answer[Any]:
    return Answer({"code": error.code, "field": error.field}, status_code=STATUSES[type(error)])


def malformed(_: Any, error: BadRequest) -> Answer[Any]:
    found, _headers = problem_of(error)
    return Answer(found, status_code=found.status, media_type="application/problem+json")


def app_over(world: World) -> Litestar:
    state = State({"resources": Resources(world.accounts, world.verifier), "world": world})
    return Litestar(
        [Router(API, route_handlers=[account_routes, session_routes])],
        state=state,
        middleware=[DefineMiddleware(BearerAuthentication, exclude_from_auth_key="public")],
        exception_handlers=dict.fromkeys(STATUSES, refused) | {BadRequest: malformed},
        openapi_config=OpenAPIConfig("TaskMaster", "1", use_handler_docstrings=True),
    )


@asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[tuple[World, AsyncClient]]:
    async with (
        open_world(database_url) as world,
        AsyncClient(transport=ASGITransport(app_over(world)), base_url="https://taskmaster.example") as client,
    ):
        yield world, client


async def register(client: AsyncClient, **changes: object) -> Response:
    return await client.post(f"{API}/auth/register", json=REGISTRATION | changes)


def bearer(answer: Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_registering_answers_201_with_tokens_that_work(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        answer = await register(client)
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["role"]) == ("Bearer", "owner")
        assert 899 <= body["expires_in"] <= 900
        shown = await client.get(f"{API}/me", headers=bearer(answer))
        assert shown.json()["email"] == EMAIL
        assert shown.json()["workspace_id"] == body["workspace_id"]


async def test_a_taken_address_answers_409(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        await register(client)
        again = await register(client, email=EMAIL.upper())
        assert (again.status_code, again.json()["code"]) == (409, "email_taken")


async def test_a_short_password_names_the_field(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        answer = await register(client, password="short")
        assert answer.status_code == 422
        assert answer.json() == {"code": "password_too_short", "field": "password"}


async def test_fields_that_only_the_server_sets_are_refused(database_url: str) -> None:
    async with serving(database_url) as (world, client):
        for field in ("role", "user_id", "workspace_id", "log"):
            assert (await register(client, **{field: "owner"})).status_code == 400
        assert await world.rows("SELECT 1 FROM taskmaster.users") == []


async def test_unknown_and_known_users_get_the_same_answer_byte_for_byte(database_url: str) -> None:
    async with serving(database_url) as (world, client):
        await register(client)
        known = await client.post(f"{API}/auth/login", json=CREDENTIALS | {"password": "wrong password"})
        verified = len(world.argon.verified)
        unknown = await client.post(f"{API}/auth/login", json=CREDENTIALS | {"email": "no@one.org"})
        assert (verified, len(world.argon.verified)) == (1, 2)
        assert known.status_code == unknown.status_code == 401
        assert known.content == unknown.content
        assert known.headers == unknown.headers


async def test_a_refresh_token_in_the_body_comes_back_in_the_body_and_in_no_cookie(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        await register(client)
        signed_in = await client.post(f"{API}/auth/login", json=CREDENTIALS)
        token = signed_in.json()["refresh_token"]
        answer = await client.post(f"{API}/auth/refresh", json={"refresh_token": token})
        assert answer.status_code == 200
        assert answer.json()["refresh_token"] != token
        assert "set-cookie" not in answer.headers


async def test_a_replayed_refresh_token_answers_401_and_ends_the_access_tokens(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        signed_in = await register(client)
        presented = {"refresh_token": signed_in.json()["refresh_token"]}
        renewed = await client.post(f"{API}/auth/refresh", json=presented)
        replayed = await client.post(f"{API}/auth/refresh", json=presented)
        assert (replayed.status_code, replayed.json()["code"]) == (401, "refresh_token_reused")
        for answer in (signed_in, renewed):
            denied = await client.get(f"{API}/me", headers=bearer(answer))
            assert (denied.status_code, denied.json()["code"]) == (401, "session_revoked")


async def test_a_browser_keeps_its_refresh_token_in_a_cookie_no_script_can_read(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        answer = await register(client, use_cookie=True)
        assert "refresh_token" not in answer.json()
        name_and_token, *attributes = answer.headers["set-cookie"].split("; ")
        token = name_and_token.removeprefix("tm_refresh=")
        assert len(token) == 43
        attributes = {attribute.lower() for attribute in attributes}
        assert attributes >= {"httponly", "secure", "samesite=strict", "path=/api/v1/auth", "max-age=2592000"}
        renewed = await client.post(f"{API}/auth/refresh", json={})
        assert renewed.status_code == 200
        assert "refresh_token" not in renewed.json()
        assert client.cookies["tm_refresh"] != token
        assert (await client.post(f"{API}/auth/refresh", json={})).status_code == 200


async def test_refreshing_without_any_token_or_as_a_form_is_refused(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        await register(client, use_cookie=True)
        form = await client.post(f"{API}/auth/refresh", data={})
        assert form.status_code == 415
        client.cookies.clear()
        answer = await client.post(f"{API}/auth/refresh", json={})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_refresh_token")


async def test_signing_out_answers_204_clears_the_cookie_and_ends_the_token(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        answer = await register(client, use_cookie=True)
        out = await client.post(f"{API}/auth/logout", headers=bearer(answer))
        assert (out.status_code, out.content) == (204, b"")
        assert "tm_refresh" not in client.cookies
        denied = await client.get(f"{API}/me", headers=bearer(answer))
        assert denied.json()["code"] == "session_revoked"


async def test_sessions_are_listed_and_the_current_one_is_marked(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        await register(client)
        second = await client.post(f"{API}/auth/login", json=CREDENTIALS, headers={"User-Agent": "curl/8"})
        listed = (await client.get(f"{API}/auth/sessions", headers=bearer(second))).json()["items"]
        assert len(listed) == 2
        [current] = [session for session in listed if session["current"]]
        assert (current["session_id"], current["user_agent"]) == (second.json()["session_id"], "curl/8")


async def test_one_session_can_be_revoked_once(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        first, second = await register(client), await client.post(f"{API}/auth/login", json=CREDENTIALS)
        path = f"{API}/auth/sessions/{first.json()['session_id']}"
        assert (await client.delete(path, headers=bearer(second))).status_code == 204
        assert (await client.get(f"{API}/me", headers=bearer(first))).status_code == 401
        again = await client.delete(path, headers=bearer(second))
        assert (again.status_code, again.json()["code"]) == (404, "session_not_found")


async def test_another_users_session_answers_like_one_that_does_not_exist(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        ada, eve = await register(client), await register(client, email="eve@example.org")
        foreign = f"{API}/auth/sessions/{ada.json()['session_id']}"
        answers = [await client.delete(path, headers=bearer(eve)) for path in (foreign, f"{API}/auth/sessions/{uuid4()}")]
        assert answers[0].status_code == answers[1].status_code == 404
        assert answers[0].content == answers[1].content
        assert (await client.get(f"{API}/me", headers=bearer(ada))).status_code == 200


@pytest.mark.parametrize(("query", "left"), [("", 401), ("?current=true", 401), ("?current=false", 200)])
async def test_all_sessions_can_be_revoked_with_or_without_the_current(database_url: str, query: str, left: int) -> None:
    async with serving(database_url) as (_, client):
        first, second = await register(client), await client.post(f"{API}/auth/login", json=CREDENTIALS)
        answer = await client.delete(f"{API}/auth/sessions{query}", headers=bearer(second))
        assert answer.status_code == 204
        assert (await client.get(f"{API}/me", headers=bearer(first))).status_code == 401
        assert (await client.get(f"{API}/me", headers=bearer(second))).status_code == left


@pytest.mark.parametrize("query", ["?current=no", "?current=", "?current=false&current=true"])
async def test_an_unclear_wish_revokes_nothing(database_url: str, query: str) -> None:
    async with serving(database_url) as (_, client):
        answer = await register(client)
        assert (await client.delete(f"{API}/auth/sessions{query}", headers=bearer(answer))).status_code == 422
        assert (await client.get(f"{API}/me", headers=bearer(answer))).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/me"), ("POST", "/auth/logout"), ("GET", "/auth/sessions"), ("DELETE", "/auth/sessions"),
     ("DELETE", "/auth/sessions/00000000-0000-0000-0000-000000000000")],
)  # fmt: skip
async def test_what_needs_a_token_is_refused_without_one(database_url: str, method: str, path: str) -> None:
    async with serving(database_url) as (_, client):
        assert (await client.request(method, API + path)).status_code == 401


async def test_no_password_or_refresh_token_is_stored_or_shown_again(database_url: str) -> None:
    async with serving(database_url) as (world, client):
        answer = await register(client)
        stored = json.dumps(
            [str(await world.rows(f"SELECT * FROM taskmaster.{table}")) for table in ("users", "refresh_tokens")]
        )
        shown = (await client.get(f"{API}/me", headers=bearer(answer))).text
        for secret in (PASSWORD, answer.json()["refresh_token"]):
            assert secret not in stored
            assert secret not in shown
