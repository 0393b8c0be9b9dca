"""Changing a password over a real database: what it needs, and what it ends."""

import asyncio

import pytest

from domain.errors import DomainError
from tests.accounts_world import CLIENT, EMAIL, PASSWORD, CountingArgon, World, open_world
from tests.application.identity.test_accounts import code_of, is_good

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

ANOTHER = "battery staple correct horse"


async def test_the_new_password_signs_in_and_the_old_one_does_not(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await world.accounts.change_password(pair.principal, PASSWORD, ANOTHER)
        assert await code_of(world.log_in()) == "invalid_credentials"
        assert (await world.log_in(password=ANOTHER)).principal.principal_id == pair.principal.principal_id


async def test_all_other_sessions_end_and_this_one_goes_on(database_url: str) -> None:
    async with open_world(database_url) as world:
        here, elsewhere = await world.register(), await world.log_in()
        assert await world.accounts.change_password(here.principal, PASSWORD, ANOTHER) == 1
        assert is_good(world, here.access_token)
        assert not is_good(world, elsewhere.access_token)
        assert await code_of(world.accounts.refresh(elsewhere.refresh_token)) == "invalid_refresh_token"
        assert (await world.accounts.refresh(here.refresh_token)).session_id == here.session_id


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("not her password", ANOTHER, "wrong_password"),
        (PASSWORD, "short", "password_too_short"),
        (PASSWORD, "p" * 1025, "password_too_long"),
        ("p" * 1025, ANOTHER, "password_too_long"),
    ],
)
async def test_a_refused_change_changes_nothing(database_url: str, old: str, new: str, code: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        assert await code_of(world.accounts.change_password(pair.principal, old, new)) == code
        assert await world.log_in()
        assert is_good(world, pair.access_token)


async def test_what_cannot_be_a_password_is_refused_before_hashing(database_url: str) -> None:
    async with open_world(database_url, CountingArgon()) as world:
        pair = await world.register()
        world.argon.verified.clear()
        assert await code_of(world.accounts.change_password(pair.principal, PASSWORD, "short")) == "password_too_short"
        assert world.argon.verified == []


async def test_of_two_changes_at_once_one_wins_and_the_other_is_told(database_url: str) -> None:
    async with open_world(database_url) as world:
        first = await world.register()
        tries = (world.accounts.change_password(first.principal, PASSWORD, f"{ANOTHER} {number}") for number in range(2))
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sorted(isinstance(result, DomainError) for result in results) == [False, True]


async def test_a_sign_in_with_the_old_password_that_is_still_hashing_opens_no_session(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await _changed_while_hashing(world, "UPDATE taskmaster.users SET password_hash = 'another'")
        assert [session.session_id for session in await world.accounts.sessions(pair.principal)] == [pair.session_id]


async def test_a_sign_in_of_somebody_who_is_disabled_meanwhile_opens_no_session(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await _changed_while_hashing(world, "UPDATE taskmaster.users SET disabled_at = now()")
        assert await world.accounts.sessions(pair.principal) == []


async def _changed_while_hashing(world: World, statement: str) -> None:
    """Sign in with the right password; the statement commits after it was compared."""
    real = world.passwords.verify

    async def verify(stored: str | None, password: str) -> bool:
        matches = await real(stored, password)
        await world.rows(statement)
        return matches

    world.passwords.verify = verify  # type: ignore[method-assign]  # the moment between is what is tested
    assert await code_of(world.accounts.log_in(EMAIL, PASSWORD, CLIENT)) == "invalid_credentials"
