"""Accounts and sessions, over a real database."""

import asyncio
import unicodedata
from uuid import uuid4

import pytest

from application.identity.rules import EMAIL_MAX, PASSWORD_MAX, email_key
from domain.errors import DomainError, InvalidValue, NotAuthenticated, NotFound, RuleViolated
from tests.accounts_world import CLIENT, EMAIL, PASSWORD, CountingArgon, World, open_world

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def code_of(accounts_call: object) -> str:
    """The code with which an awaitable is refused."""
    with pytest.raises(DomainError) as refused:
        await accounts_call  # type: ignore[misc]  # any coroutine
    return refused.value.code


def is_good(world: World, access_token: str) -> bool:
    try:
        world.verifier.verify(access_token, world.clock.timestamp())
    except Exception:  # noqa: BLE001 (whatever the reason)
        return False
    return True


async def live_tokens(world: World) -> int:
    rows = await world.rows(
        "SELECT count(*) FROM taskmaster.refresh_tokens t JOIN taskmaster.sessions s ON s.id = t.session_id"
        " WHERE t.rotated_at IS NULL AND s.revoked_at IS NULL"
    )
    return int(rows[0][0])


async def test_registering_makes_a_user_who_owns_a_workspace_in_the_log(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        principal = world.verifier.verify(pair.access_token, world.clock.timestamp())
        assert principal == pair.principal
        assert (principal.role, principal.log) == ("owner", "main")
        profile = await world.accounts.profile(principal)
        assert (profile.email, profile.display_name, profile.role) == (EMAIL, "Ada", "owner")
        assert profile.workspace_id == principal.workspace_id


@pytest.mark.parametrize("variant", [EMAIL.lower(), EMAIL.upper(), EMAIL.replace("A", "\uff21", 1)])
async def test_an_address_is_taken_however_it_is_written(database_url: str, variant: str) -> None:
    async with open_world(database_url) as world:
        await world.register()
        with pytest.raises(RuleViolated) as refused:
            await world.register(variant)
        assert refused.value.code == "email_taken"
        assert await world.rows("SELECT count(*) FROM taskmaster.workspaces") == [(1,)]


async def test_of_concurrent_registrations_of_one_address_one_succeeds(database_url: str) -> None:
    async with open_world(database_url) as world:
        results = await asyncio.gather(*(world.register() for _ in range(6)), return_exceptions=True)
        assert sum(not isinstance(result, Exception) for result in results) == 1
        assert await world.rows("SELECT count(*) FROM taskmaster.users") == [(1,)]
        assert await world.rows("SELECT count(*) FROM taskmaster.workspaces") == [(1,)]


async def test_signing_in_works_with_the_address_in_another_spelling(database_url: str) -> None:
    async with open_world(database_url) as world:
        registered = await world.register()
        pair = await world.log_in(EMAIL.upper())
        assert pair.principal.principal_id == registered.principal.principal_id
        assert pair.session_id != registered.session_id


async def test_unknown_and_known_users_are_refused_alike_after_one_verification_each(
    database_url: str,
) -> None:
    async with open_world(database_url) as world:
        await world.register()
        with pytest.raises(NotAuthenticated) as known:
            await world.log_in(password="not the password")
        assert len(world.argon.verified) == 1
        with pytest.raises(NotAuthenticated) as unknown:
            await world.log_in(email="nobody@example.org", password="not the password")
        assert len(world.argon.verified) == 2
        assert (known.value.code, known.value.message) == (unknown.value.code, unknown.value.message)


async def test_the_password_of_the_dummy_hash_signs_nobody_in(database_url: str) -> None:
    async with open_world(database_url) as world:
        dummy_password = str(world.argon.hashed[0])
        assert await code_of(world.log_in("nobody@example.org", dummy_password)) == "invalid_credentials"


async def test_imported_principals_cannot_sign_in(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.register()
        await world.rows("UPDATE taskmaster.members SET role = 'imported'")
        assert await code_of(world.log_in()) == "invalid_credentials"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("x" * 9, "password_too_short"),
        ("x" * (PASSWORD_MAX + 1), "password_too_long"),
        ("x" * 1_048_576, "password_too_long"),
        ("with\x00nul-in-it", "password_characters"),
        ("with\ud800surrogate", "password_characters"),
    ],
)
async def test_passwords_out_of_bounds_are_refused_before_hashing(database_url: str, password: str, code: str) -> None:
    async with open_world(database_url) as world:
        hashes_before = len(world.argon.hashed)
        assert await code_of(world.accounts.register(EMAIL, password, "Ada", CLIENT)) == code
        assert len(world.argon.hashed) == hashes_before


async def test_an_overlong_password_is_refused_at_sign_in_before_hashing(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.register()
        assert await code_of(world.log_in(password="x" * (PASSWORD_MAX + 1))) == "password_too_long"
        assert world.argon.verified == []


@pytest.mark.parametrize("password", ["x" * 10, "x" * PASSWORD_MAX, "\U0001f0a1" * 10, "пароль из букв", " spaces at ends "])
async def test_passwords_within_bounds_work_to_the_last_character(database_url: str, password: str) -> None:
    async with open_world(database_url) as world:
        await world.accounts.register(EMAIL, password, "Ada", CLIENT)
        assert (await world.log_in(password=password)).access_token
        other_end = password[:-1] + "y"
        assert await code_of(world.log_in(password=other_end)) == "invalid_credentials"


async def test_a_password_typed_with_combining_marks_is_the_same_password(database_url: str) -> None:
    async with open_world(database_url) as world:
        composed = "grüße aus köln"
        await world.accounts.register(EMAIL, composed, "Ada", CLIENT)
        assert (await world.log_in(password=unicodedata.normalize("NFD", composed))).access_token


@pytest.mark.parametrize(
    "email",
    ["", "a", "@b", "a@", "a b@c.org", "a@b@c.org", "a@.org", "a@b..c", "a\x00@b.org", "a\ud800@b.org",
     "a\n@b.org", "\u202ea@b.org",
     "a\uff20b@c.org", "x" * 65 + "@b.org", "a@" + "b" * EMAIL_MAX, "a@" + "\ufdfa" * 100],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str, anyio_backend: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        email_key(email)
    assert refused.value.field == "email"


async def test_a_hash_with_old_parameters_is_renewed_at_sign_in(database_url: str) -> None:
    async with open_world(database_url) as earlier:
        await earlier.register()
    async with open_world(database_url, CountingArgon(time_cost=2)) as world:
        await world.log_in()
        [(stored,)] = await world.rows("SELECT password_hash FROM taskmaster.users")
        assert "t=2" in stored
        assert (await world.log_in()).access_token
        assert world.argon.hashed[1:] == [PASSWORD], "and renewed once only"


async def test_a_refresh_token_gives_a_new_pair_for_the_same_session(database_url: str) -> None:
    async with open_world(database_url) as world:
        first = await world.register()
        world.pass_time(minutes=14)
        second = await world.accounts.refresh(first.refresh_token)
        assert second.session_id == first.session_id
        assert second.refresh_token != first.refresh_token
        assert second.principal.expires_at == first.principal.expires_at + 14 * 60
        third = await world.accounts.refresh(second.refresh_token)
        assert is_good(world, third.access_token)


async def test_only_hashes_of_refresh_tokens_are_stored(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        [(row,)] = await world.rows("SELECT t::text FROM taskmaster.refresh_tokens t")
        assert pair.refresh_token not in row
        assert pair.refresh_token.encode().hex() not in row
        assert world.tokens.refresh_token_hash(pair.refresh_token).hex() in row


async def test_a_replayed_refresh_token_revokes_its_family_and_its_access_tokens(database_url: str) -> None:
    async with open_world(database_url) as world:
        first = await world.register()
        other = await world.log_in()
        second = await world.accounts.refresh(first.refresh_token)
        assert await code_of(world.accounts.refresh(first.refresh_token)) == "refresh_token_reused"
        assert await code_of(world.accounts.refresh(second.refresh_token)) == "invalid_refresh_token"
        assert not is_good(world, first.access_token)
        assert not is_good(world, second.access_token)
        assert is_good(world, other.access_token), "the user's other sessions live on"
        assert await world.rows("SELECT revoke_reason FROM taskmaster.sessions WHERE revoked_at IS NOT NULL") == [
            ("refresh_token_reused",)
        ]


@pytest.mark.parametrize("attempt", range(5))
async def test_twenty_concurrent_refreshes_never_leave_two_live_successors(database_url: str, attempt: int) -> None:
    async with open_world(database_url) as one, open_world(database_url) as two:
        pair = await one.register()
        calls = [(one, two)[number % 2].accounts.refresh(pair.refresh_token) for number in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        codes = [result.code if isinstance(result, DomainError) else type(result).__name__ for result in results]
        assert sorted(codes) == ["TokenPair"] + ["refresh_token_reused"] * 19
        assert await live_tokens(one) == 0


async def test_the_database_itself_refuses_a_second_live_token_in_a_family(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.register()
        with pytest.raises(Exception, match="refresh_tokens_one_live"):
            await world.rows(
                "INSERT INTO taskmaster.refresh_tokens (token_hash, session_id, issued_at, expires_at)"
                " SELECT 'x', session_id, issued_at, expires_at FROM taskmaster.refresh_tokens"
            )


async def test_a_refresh_and_a_revocation_at_once_leave_no_live_token(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await asyncio.gather(
            world.accounts.refresh(pair.refresh_token),
            world.accounts.revoke_session(pair.principal, pair.session_id),
            return_exceptions=True,
        )
        assert await live_tokens(world) == 0


@pytest.mark.parametrize("token", ["", "unknown", "x" * 100_000, "\ud800", "nul\x00"])
async def test_unknown_refresh_tokens_are_refused(database_url: str, token: str) -> None:
    async with open_world(database_url) as world:
        assert await code_of(world.accounts.refresh(token)) == "invalid_refresh_token"


async def test_a_refresh_token_expires_when_it_lies_idle(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        world.pass_time(days=30)
        assert await code_of(world.accounts.refresh(pair.refresh_token)) == "invalid_refresh_token"


async def test_a_session_ends_however_busy_it_is_and_no_token_outlives_it(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        for _ in range(3):
            world.pass_time(days=29, hours=23)
            pair = await world.accounts.refresh(pair.refresh_token)
        end = pair.refresh_expires_at
        world.pass_time(hours=2, minutes=55)
        pair = await world.accounts.refresh(pair.refresh_token)
        assert pair.refresh_expires_at == end
        assert pair.access_expires_at <= end
        world.pass_time(minutes=5)
        assert await code_of(world.accounts.refresh(pair.refresh_token)) == "invalid_refresh_token"


async def test_an_access_token_is_not_a_refresh_token(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        assert await code_of(world.accounts.refresh(pair.access_token)) == "invalid_refresh_token"


async def test_signing_out_ends_the_session_and_its_tokens(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await world.accounts.log_out(pair.principal)
        assert not is_good(world, pair.access_token)
        assert await code_of(world.accounts.refresh(pair.refresh_token)) == "invalid_refresh_token"
        await world.accounts.log_out(pair.principal)


async def test_sessions_are_listed_last_used_first_and_without_the_dead(database_url: str) -> None:
    async with open_world(database_url) as world:
        first = await world.register()
        world.pass_time(minutes=1)
        second = await world.log_in()
        world.pass_time(minutes=1)
        gone = await world.log_in()
        await world.accounts.log_out(gone.principal)
        world.pass_time(minutes=1)
        await world.accounts.refresh(first.refresh_token)
        listed = await world.accounts.sessions(first.principal)
        assert [session.session_id for session in listed] == [first.session_id, second.session_id]
        assert (listed[0].user_agent, listed[0].ip) == (CLIENT.user_agent, CLIENT.ip)


async def test_another_users_session_cannot_be_revoked_or_told_from_none(database_url: str) -> None:
    async with open_world(database_url) as world:
        mine = await world.register()
        theirs = await world.register("eve@example.org")
        with pytest.raises(NotFound) as foreign:
            await world.accounts.revoke_session(theirs.principal, mine.session_id)
        with pytest.raises(NotFound) as absent:
            await world.accounts.revoke_session(theirs.principal, uuid4())
        assert (foreign.value.code, foreign.value.message) == (absent.value.code, absent.value.message)
        assert is_good(world, mine.access_token)
        assert (await world.accounts.refresh(mine.refresh_token)).access_token


@pytest.mark.parametrize("keep_current", [True, False])
async def test_revoking_all_sessions_spares_others_users_and_optionally_the_current(
    database_url: str, keep_current: bool
) -> None:
    async with open_world(database_url) as world:
        eve = await world.register("eve@example.org")
        first, second, third = await world.register(), await world.log_in(), await world.log_in()
        count = await world.accounts.revoke_all_sessions(third.principal, keep_current=keep_current)
        assert count == (2 if keep_current else 3)
        good = [is_good(world, pair.access_token) for pair in (eve, first, second, third)]
        assert good == [True, False, False, keep_current]


async def test_a_sign_in_clears_away_the_users_long_expired_sessions(database_url: str) -> None:
    async with open_world(database_url) as world:
        await world.register("eve@example.org")
        await world.register()
        world.pass_time(days=92)
        await world.log_in()
        [(left,)] = await world.rows("SELECT count(*) FROM taskmaster.sessions")
        assert left == 2, "eve's own and the new one"


async def test_an_erased_user_has_no_profile_and_no_session(database_url: str) -> None:
    async with open_world(database_url) as world:
        pair = await world.register()
        await world.rows("DELETE FROM taskmaster.users")
        assert await code_of(world.accounts.profile(pair.principal)) == "account_not_found"
        assert await code_of(world.accounts.refresh(pair.refresh_token)) == "invalid_refresh_token"
