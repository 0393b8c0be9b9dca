"""Limits over HTTP: who is charged for what, what he is told, and that nobody is charged for another."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import redis

from infrastructure.limits.limits import Limits
from infrastructure.servers.redis_client import LIMITS, with_database
from infrastructure.settings import Settings
from tests.api_world import PASSWORD, ROOT, Api, problem, serving

HERE, THERE, PROXY = "192.0.2.7", "198.51.100.9", "203.0.113.1"
JSON = {"Content-Type": "application/json"}
Limited = Callable[..., Api]


@pytest.fixture
def limited(api_settings: Settings) -> Iterator[Limited]:
    """Serves the application with these limits and no others, on an empty Redis."""
    with ExitStack() as stack:

        def serve(**settings: Any) -> Api:
            with redis.Redis.from_url(with_database(api_settings.redis_url, LIMITS)) as client:
                client.flushdb()
            return stack.enter_context(serving(msgspec.structs.replace(api_settings, limits="off", **settings)))

        yield serve


def sign_in(api: Api, email: str, password: str = PASSWORD, client: str = HERE, **headers: str) -> httpx.Response:
    body = json.dumps({"email": email, "password": password}).encode()
    return api.exchange("POST", f"{ROOT}/auth/login", JSON | headers, body, client=client)


def refused(answer: httpx.Response, budget: str) -> None:
    """Assert that the answer is a whole refusal by that limit."""
    problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["ratelimit"] == f'"{budget}";r=0;t={answer.headers["retry-after"]}'
    assert answer.headers["ratelimit-policy"].startswith(f'"{budget}";q=')
    assert answer.headers["x-request-id"]


def test_the_sixth_sign_in_to_an_account_from_one_address_is_refused_right_or_wrong(limited: Limited) -> None:
    api = limited(limit_sign_in="5/900")
    ada = api.register()
    answers = [sign_in(api, ada.email, "not her password") for _ in range(4)] + [sign_in(api, ada.email)]
    assert [answer.status_code for answer in answers] == [401] * 4 + [200]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=4", "r=3", "r=2", "r=1", "r=0"]
    refused(sign_in(api, ada.email), "sign-in")
    refused(sign_in(api, ada.email.upper()), "sign-in")


def test_a_victim_signs_in_from_elsewhere_while_attacked(limited: Limited) -> None:
    api = limited(limit_sign_in="5/900")
    ada = api.register()
    for _ in range(8):
        sign_in(api, ada.email, "not her password", client=THERE)
    refused(sign_in(api, ada.email, client=THERE), "sign-in")
    assert sign_in(api, ada.email, client=HERE).status_code == 200


def test_counted_by_account_alone_the_victim_would_be_locked_out(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    by_both = Limits.of_password
    monkeypatch.setattr(Limits, "of_password", lambda limits, whose, _: by_both(limits, whose, "anywhere"))
    api = limited(limit_sign_in="5/900")
    ada = api.register()
    for _ in range(5):
        sign_in(api, ada.email, "not her password", client=THERE)
    refused(sign_in(api, ada.email, client=HERE), "sign-in")


def test_whoever_tries_many_accounts_is_stopped_by_his_address(limited: Limited) -> None:
    api = limited(limit_sign_in="5/900", limit_sign_in_address="12/900")
    answers = [sign_in(api, f"{number}@example.org") for number in range(12)]
    assert {answer.status_code for answer in answers} == {401}
    refused(sign_in(api, "another@example.org"), "sign-in-address")


def test_an_unknown_account_is_limited_like_a_known_one(limited: Limited) -> None:
    api = limited(limit_sign_in="5/900")
    for _ in range(5):
        sign_in(api, "nobody@example.org")
    refused(sign_in(api, "nobody@example.org"), "sign-in")


def test_a_change_of_password_is_limited_like_a_sign_in(limited: Limited) -> None:
    api = limited(limit_sign_in="5/900")
    ada = api.register()
    body = {"old_password": "not her password", "new_password": "battery staple correct"}
    assert {ada.post("/auth/change-password", body).status_code for _ in range(5)} == {403}
    refused(ada.post("/auth/change-password", body | {"old_password": PASSWORD}), "sign-in")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", f"{ROOT}/tasks", {}, 401),
        ("GET", f"{ROOT}/tasks", {"Authorization": "Bearer not.a.token"}, 401),
        ("GET", f"{ROOT}/nothing-here", {}, 404),
        ("GET", "/wp-login.php", {}, 404),
        ("GET", "//api/v1/tasks", {}, 404),
        ("PUT", f"{ROOT}/auth/login", {}, 405),
        ("POST", f"{ROOT}/auth/register", {}, 415),
    ],
)
def test_whatever_is_refused_without_a_good_token_counts_for_the_address(
    limited: Limited, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    api = limited(limit_anonymous="3/900")
    assert [api.exchange(method, path, headers).status_code for _ in range(3)] == [status] * 3
    refused(api.exchange(method, path, headers), "anonymous")
    assert api.exchange(method, path, headers, client=THERE).status_code == status


def test_health_is_asked_for_without_limit(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900")
    assert {api.exchange("GET", "/healthz", {}).status_code for _ in range(9)} == {200}


def test_a_used_up_address_does_not_keep_its_signed_in_users_out(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900", limit_user="600/60")
    ada = api.register()
    for _ in range(4):
        api.request("GET", "/nothing")
    assert ada.get("/tasks").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP"])
def test_what_a_client_says_of_its_address_changes_nothing(limited: Limited, header: str) -> None:
    api = limited(limit_anonymous="3/900")
    said = [{header: f"for=198.51.100.{number}" if header == "Forwarded" else f"198.51.100.{number}"} for number in range(4)]
    answers = [api.exchange("GET", "/nothing", each) for each in said]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]


def test_what_a_client_says_through_a_trusted_proxy_changes_nothing_either(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900", trusted_proxies=f"{PROXY}/32")
    said = [{"X-Forwarded-For": f"10.0.0.{number}, {HERE}", "Forwarded": f"for=10.1.0.{number}"} for number in range(4)]
    answers = [api.exchange("GET", "/nothing", each, client=PROXY) for each in said]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert api.exchange("GET", "/nothing", {"X-Forwarded-For": THERE}, client=PROXY).status_code == 404


def test_where_everybody_is_trusted_a_client_could_be_anybody(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900", trusted_proxies="0.0.0.0/0")
    answers = [api.exchange("GET", "/nothing", {"X-Forwarded-For": f"2001:db8:{n}::1"}) for n in range(5)]
    assert {answer.status_code for answer in answers} == {404}


def test_clients_behind_an_untrusted_proxy_are_one_client(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900")
    answers = [api.exchange("GET", "/nothing", {"X-Forwarded-For": f"10.0.0.{n}"}, client=PROXY) for n in range(4)]
    assert answers[-1].status_code == 429


def test_one_network_of_ipv6_is_one_client(limited: Limited) -> None:
    api = limited(limit_anonymous="3/900")
    answers = [api.exchange("GET", "/nothing", {}, client=f"2001:db8:1:2::{number:x}") for number in range(1, 5)]
    assert answers[-1].status_code == 429
    assert api.exchange("GET", "/nothing", {}, client="2001:db8:1:3::1").status_code == 404


def test_an_answer_says_what_is_left_and_a_write_costs_more(limited: Limited) -> None:
    api = limited(limit_user="20/900")
    ada = api.register()
    listed = ada.get("/tasks")
    assert listed.headers["ratelimit-policy"] == '"user";q=20;w=900'
    assert listed.headers["ratelimit"].startswith('"user";r=19;t=')
    assert ada.post("/tasks", {"title": "Ship it"}).headers["ratelimit"].startswith('"user";r=17;t=')
    assert ada.get("/tasks/count").headers["ratelimit"].startswith('"user";r=16;t=')


def test_a_batch_costs_by_its_items_and_is_refused_whole(limited: Limited) -> None:
    api = limited(limit_user="20/900", limit_batch_items=4)
    ada = api.register()
    batch = {"commands": [{"command": {"command": "create", "title": f"Task {n}"}} for n in range(40)]}
    assert ada.post("/tasks/batch", batch).status_code == 200
    head = api.head()
    refused(ada.post("/tasks/batch", {"commands": (batch["commands"] * 2)[:44]}), "user")
    assert ada.get("/tasks").headers["ratelimit"].startswith('"user";r=7;t=')
    assert api.head() == head


def test_the_largest_batch_is_let_in_where_all_is_there(limited: Limited) -> None:
    api = limited(limit_user="20/900", limit_batch_items=1)
    ada = api.register()
    batch = {"commands": [{"command": {"command": "create", "title": f"Task {n}"}} for n in range(60)]}
    assert ada.post("/tasks/batch", batch).status_code == 200


def test_one_user_is_not_charged_for_another(limited: Limited) -> None:
    api = limited(limit_user="5/900")
    ada, eve = api.register("ada"), api.register("eve")
    assert [ada.get("/tasks").status_code for _ in range(6)] == [200] * 5 + [429]
    assert eve.get("/tasks").status_code == 200


def test_two_sessions_of_a_user_share_his_budget(limited: Limited) -> None:
    api = limited(limit_user="5/900")
    ada = api.register()
    other = ada.acting_as("owner", seconds=300)
    assert [each.get("/tasks").status_code for each in (ada, other) * 3] == [200] * 5 + [429]


def test_reports_have_a_limit_of_their_own(limited: Limited) -> None:
    api = limited(limit_user="600/60", limit_reports="2/900")
    ada = api.register()
    assert [ada.get("/analytics/flow").status_code for _ in range(3)] == [200, 200, 429]
    assert ada.get("/tasks").status_code == 200


def test_a_session_shows_the_clients_address_and_not_the_proxys(limited: Limited) -> None:
    api = limited(trusted_proxies=PROXY)
    ada = api.register()
    signed_in = sign_in(api, ada.email, client=PROXY, **{"X-Forwarded-For": THERE})
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    answer = api.exchange("GET", f"{ROOT}/auth/sessions", headers, client=PROXY).json()
    newest = next(each for each in answer.get("items", answer.get("sessions")) if each["current"])
    assert newest["ip"] == THERE


@pytest.mark.parametrize(
    ("client", "said", "secure"),
    [(PROXY, "https", True), (PROXY, "http", False), (HERE, "https", False), (PROXY, "", False)],
)
def test_a_cookie_is_secure_where_a_trusted_proxy_says_https(limited: Limited, client: str, said: str, secure: bool) -> None:
    api = limited(trusted_proxies=PROXY, secure_cookies=False)
    ada = api.register()
    body = json.dumps({"email": ada.email, "password": PASSWORD, "use_cookie": True}).encode()
    headers = JSON | ({"X-Forwarded-Proto": said} if said else {})
    cookie = api.exchange("POST", f"{ROOT}/auth/login", headers, body, client=client).headers["set-cookie"]
    assert ("secure" in cookie.lower()) is secure


def test_a_refused_sign_in_is_not_hashed_and_the_database_not_asked(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    api = limited(limit_sign_in="5/900")
    asked: list[str] = []
    real = api.resources.accounts.log_in

    async def log_in(email: str, *rest: Any) -> Any:
        asked.append(email)
        return await real(email, *rest)

    monkeypatch.setattr(api.resources.accounts, "log_in", log_in)
    for _ in range(9):
        sign_in(api, "nobody@example.org")
    assert len(asked) == 5


def test_by_the_founding_profile_a_user_has_a_thousand_an_hour(api_settings: Settings) -> None:
    with serving(msgspec.structs.replace(api_settings, limits="founding")) as api:
        ada = api.register()
        assert ada.get("/tasks").headers["ratelimit-policy"] == '"user";q=1000;w=3600'


def test_every_answer_of_the_standard_profile_says_six_hundred_a_minute(api_settings: Settings) -> None:
    with serving(msgspec.structs.replace(api_settings, limits="standard")) as api:
        ada = api.register()
        for path in ("/tasks", "/me", f"/tasks/{uuid4()}"):
            assert ada.get(path).headers["ratelimit-policy"] == '"user";q=600;w=60'
