"""Access tokens against a corpus of crafted ones, the cache of verified tokens, and the password line."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import threading
from typing import Any
from uuid import uuid4

import jwt
import pytest

from application.principal import Principal
from infrastructure.identity.passwords import FLOOR, PasswordHasher
from infrastructure.identity.tokens import InvalidToken, KeyRing, TokenIssuer, TokenVerifier
from infrastructure.unavailable import Overloaded
from tests.accounts_world import CountingArgon

NOW = 1_800_000_000
CURRENT = "the current key of these tests, long enough"
PREVIOUS = "the previous key of these tests, long enough"
RING = KeyRing(CURRENT, PREVIOUS)
KEY_ID = hashlib.sha256(CURRENT.encode()).hexdigest()[:8]
CLAIMS: dict[str, Any] = {
    "iss": "taskmaster",
    "aud": "taskmaster-api",
    "sub": str(uuid4()),
    "sid": str(uuid4()),
    "ws": str(uuid4()),
    "log": "main",
    "role": "owner",
    "iat": NOW,
    "exp": NOW + 900,
    "jti": "0011223344556677",
}
HEADER = {"alg": "HS256", "typ": "at+jwt", "kid": KEY_ID}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def crafted(
    header: dict[str, Any] | bytes = HEADER,
    claims: dict[str, Any] | bytes = CLAIMS,
    key: str = CURRENT,
    digest: str = "sha256",
) -> str:
    """A token signed by hand, since PyJWT refuses to make most of these."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(encoded(part) for part in parts)
    return f"{signed}.{encoded(hmac.digest(key.encode(), signed.encode(), digest))}"


def without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def principal(expires_at: int = NOW + 900) -> Principal:
    return Principal(uuid4(), uuid4(), uuid4(), "main", "owner", expires_at)


def refusal(verifier: TokenVerifier, token: str, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(token, now)
    return refused.value.code


SIGNED = crafted()
SIGNATURE = SIGNED.rpartition(".")[2]
STEM = SIGNED.removesuffix(SIGNATURE)
LAST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
OTHER_SPELLING = SIGNED[:-1] + LAST[LAST.index(SIGNED[-1]) ^ 1]

CORPUS: dict[str, str] = {
    "empty": "",
    "no dots": "token",
    "not base64": "%%%.%%%.%%%",
    "alg none": crafted(HEADER | {"alg": "none"}),
    "alg none without signature": STEM.replace(STEM.split(".", maxsplit=1)[0], encoded(b'{"alg":"none"}')),
    "alg None": crafted(HEADER | {"alg": "None"}),
    "no signature": STEM,
    "alg HS512, rightly signed": crafted(HEADER | {"alg": "HS512"}, digest="sha512"),
    "alg hs256": crafted(HEADER | {"alg": "hs256"}),
    "alg RS256": crafted(HEADER | {"alg": "RS256"}),
    "alg a list": crafted(HEADER | {"alg": ["HS256"]}),
    "no alg": crafted(without(HEADER, "alg")),
    "typ JWT": crafted(HEADER | {"typ": "JWT"}),
    "typ refresh": crafted(HEADER | {"typ": "refresh+jwt"}),
    "typ in other case": crafted(HEADER | {"typ": "AT+JWT"}),
    "no typ": crafted(without(HEADER, "typ")),
    "kid unknown": crafted(HEADER | {"kid": "00000000"}),
    "kid a path": crafted(HEADER | {"kid": "../../dev/null"}),
    "kid SQL": crafted(HEADER | {"kid": "' OR 1=1 --"}),
    "kid a number": crafted(HEADER | {"kid": 1}),
    "kid a list": crafted(HEADER | {"kid": [KEY_ID]}),
    "no kid": crafted(without(HEADER, "kid")),
    "kid of the previous key, signed with the current": crafted(
        HEADER | {"kid": hashlib.sha256(PREVIOUS.encode()).hexdigest()[:8]}
    ),
    "jku": crafted(HEADER | {"jku": "https://evil.example/keys"}),
    "x5u": crafted(HEADER | {"x5u": "https://evil.example/cert"}),
    "jwk": crafted(HEADER | {"jwk": {"kty": "oct", "k": "AAAA"}}),
    "crit": crafted(HEADER | {"crit": ["exp"]}),
    "b64 false": crafted(HEADER | {"b64": False}),
    "cty nested": crafted(HEADER | {"cty": "JWT"}),
    "header a list": crafted(b"[]"),
    "header not JSON": crafted(b"{"),
    "header deep": crafted(b'{"alg":' * 5000),
    "claims a list": crafted(claims=b"[]"),
    "claims not JSON": crafted(claims=b"{"),
    "claims deep": crafted(claims=b'{"a":' * 300),
    "claims in UTF-16": crafted(claims=json.dumps(CLAIMS).encode("utf-16")),
    "extra claim": crafted(claims=CLAIMS | {"admin": True}),
    "other aud": crafted(claims=CLAIMS | {"aud": "other-api"}),
    "aud a list": crafted(claims=CLAIMS | {"aud": ["taskmaster-api", "other"]}),
    "other iss": crafted(claims=CLAIMS | {"iss": "https://evil.example"}),
    "iss a list": crafted(claims=CLAIMS | {"iss": ["taskmaster"]}),
    "sub no uuid": crafted(claims=CLAIMS | {"sub": "admin"}),
    "sub a number": crafted(claims=CLAIMS | {"sub": 1}),
    "role unknown": crafted(claims=CLAIMS | {"role": "admin"}),
    "exp a string": crafted(claims=CLAIMS | {"exp": str(NOW + 900)}),
    "exp fractional": crafted(claims=CLAIMS | {"exp": NOW + 900.5}),
    "exp huge": crafted(claims=json.dumps(CLAIMS).replace(str(NOW + 900), "1e400").encode()),
    "exp null": crafted(claims=CLAIMS | {"exp": None}),
    "exp now": crafted(claims=CLAIMS | {"exp": NOW}),
    "exp before iat": crafted(claims=CLAIMS | {"iat": NOW + 5, "exp": NOW + 4}),
    "expired": crafted(claims=CLAIMS | {"iat": NOW - 1000, "exp": NOW - 100}),
    "iat in the future": crafted(claims=CLAIMS | {"iat": NOW + 31}),
    "jti a number": crafted(claims=CLAIMS | {"jti": 7}),
    "signed with another key": crafted(key="another key of these tests, also long enough"),
    "signature padded": SIGNED + "=",
    "signature padded twice": SIGNED + "==",
    "signature spelt otherwise": OTHER_SPELLING,
    "signature cut": SIGNED[:-1],
    "signature empty base64": STEM + "A",
    "space before": " " + SIGNED,
    "space after": SIGNED + " ",
    "newline after": SIGNED + "\n",
    "with scheme": "Bearer " + SIGNED,
    "four parts": SIGNED + "." + SIGNATURE,
    "64 KiB": crafted(claims=CLAIMS | {"log": "x" * 65_536}),
    "not ASCII": SIGNED + "é",
    "surrogate": SIGNED + "\ud800",
    "refresh token": TokenIssuer(RING).refresh_token()[0],
    "ordinary JWT": jwt.encode(CLAIMS, CURRENT, "HS256"),
    **{f"no {name}": crafted(claims=without(CLAIMS, name)) for name in CLAIMS},
    **{f"{name} null": crafted(claims=CLAIMS | {name: None}) for name in CLAIMS},
    **{f"{name} an object": crafted(claims=CLAIMS | {name: {}}) for name in CLAIMS},
}


def test_the_corpus_starts_from_a_token_that_is_good() -> None:
    accepted = TokenVerifier(RING).verify(SIGNED, NOW)
    assert str(accepted.principal_id) == CLAIMS["sub"]
    assert accepted.expires_at == NOW + 900
    assert OTHER_SPELLING != SIGNED
    assert base64.urlsafe_b64decode(OTHER_SPELLING.rpartition(".")[2] + "=") == base64.urlsafe_b64decode(SIGNATURE + "=")


@pytest.mark.parametrize("name", CORPUS)
def test_no_crafted_token_is_accepted_or_remembered(name: str) -> None:
    verifier = TokenVerifier(RING)
    verifier.verify(SIGNED, NOW)
    for _ in range(2):
        assert refusal(verifier, CORPUS[name]) in {"invalid_token", "token_expired"}
    assert len(verifier) == 1


def test_no_single_changed_character_is_accepted() -> None:
    verifier = TokenVerifier(RING)
    for place, character in enumerate(SIGNED):
        for other in {"A", "b", "-", ".", "=", "\x00"} - {character}:
            refusal(verifier, SIGNED[:place] + other + SIGNED[place + 1 :])
    assert len(verifier) == 0


def test_a_verifier_whose_clock_is_half_a_minute_behind_takes_good_tokens() -> None:
    assert TokenVerifier(RING).verify(crafted(claims=CLAIMS | {"iat": NOW + 30}), NOW)
    assert refusal(TokenVerifier(RING), crafted(claims=CLAIMS | {"iat": NOW + 31})) == "invalid_token"


def test_tokens_signed_with_the_previous_key_are_accepted_until_it_leaves_the_ring() -> None:
    token = TokenIssuer(KeyRing(PREVIOUS)).access_token(principal(), NOW)
    assert TokenVerifier(KeyRing(CURRENT, PREVIOUS)).verify(token, NOW)
    assert refusal(TokenVerifier(KeyRing(CURRENT)), token) == "invalid_token"


def test_new_tokens_are_signed_with_the_current_key() -> None:
    token = TokenIssuer(RING).access_token(principal(), NOW)
    assert jwt.get_unverified_header(token) == HEADER
    assert TokenVerifier(KeyRing(CURRENT)).verify(token, NOW)


@pytest.mark.parametrize(("current", "previous"), [("", ""), ("short", ""), (CURRENT, "short"), ("", CURRENT)])
def test_short_keys_are_refused(current: str, previous: str) -> None:
    with pytest.raises(ValueError, match="32"):
        KeyRing(current, previous)


def test_a_verified_token_is_the_same_principal_and_is_not_verified_again() -> None:
    verifier = TokenVerifier(RING)
    asked = principal()
    token = TokenIssuer(RING).access_token(asked, NOW)
    first = verifier.verify(token, NOW)
    assert first == asked
    assert verifier.verify(token, NOW + 1) is first


def test_a_remembered_token_is_refused_from_the_second_it_expires() -> None:
    verifier = TokenVerifier(RING)
    token = TokenIssuer(RING).access_token(principal(NOW + 10), NOW)
    assert verifier.verify(token, NOW + 9.999)
    assert refusal(verifier, token, NOW + 10) == "token_expired"
    assert len(verifier) == 0
    assert refusal(verifier, token, NOW + 10) == "token_expired"


def test_an_expired_token_of_the_old_generation_is_refused() -> None:
    verifier = TokenVerifier(RING, capacity=2)
    issuer = TokenIssuer(RING)
    token = issuer.access_token(principal(NOW + 10), NOW)
    verifier.verify(token, NOW)
    verifier.verify(issuer.access_token(principal(), NOW), NOW)
    assert refusal(verifier, token, NOW + 10) == "token_expired"


def test_a_remembered_token_is_refused_once_its_session_is_revoked() -> None:
    verifier = TokenVerifier(RING)
    asked = principal()
    token, other = (TokenIssuer(RING).access_token(who, NOW) for who in (asked, principal()))
    verifier.verify(token, NOW)
    verifier.revoke([asked.session_id])
    assert refusal(verifier, token) == "session_revoked"
    assert verifier.verify(other, NOW)


def test_a_token_first_seen_after_the_revocation_is_refused() -> None:
    verifier = TokenVerifier(RING)
    asked = principal()
    verifier.revoke([asked.session_id])
    assert refusal(verifier, TokenIssuer(RING).access_token(asked, NOW)) == "session_revoked"


def test_the_cache_stays_within_its_bound_and_keeps_what_is_in_use() -> None:
    verifier = TokenVerifier(RING, capacity=20)
    issuer = TokenIssuer(RING)
    busy = issuer.access_token(principal(), NOW)
    first = verifier.verify(busy, NOW)
    for _ in range(50):
        verifier.verify(issuer.access_token(principal(), NOW), NOW)
        assert verifier.verify(busy, NOW) is first
        assert len(verifier) <= 20


def test_refresh_tokens_are_random_and_hashed_with_sha_256() -> None:
    issuer = TokenIssuer(RING)
    made = {issuer.refresh_token() for _ in range(100)}
    assert len(made) == 100
    for token, stored in made:
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
        assert stored == hashlib.sha256(token.encode()).digest()


def test_passwords_are_hashed_at_the_recommended_floor() -> None:
    stored = FLOOR.hash("a password")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_user_who_does_not_exist_matches_no_password_not_even_the_dummys() -> None:
    async def scenario() -> None:
        argon = CountingArgon()
        hasher = PasswordHasher(argon)
        assert not await hasher.verify(None, str(argon.hashed[0]))
        assert argon.verified == argon.hashed
        hasher.close()

    asyncio.run(scenario())


def test_an_unreadable_stored_hash_matches_nothing() -> None:
    async def scenario() -> None:
        hasher = PasswordHasher(CountingArgon())
        assert not await hasher.verify("not a hash", "password")
        hasher.close()

    asyncio.run(scenario())


class HeldArgon(CountingArgon):
    """Hashes only once it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        super().__init__()

    def hash(self, password: str | bytes, **options: Any) -> str:
        assert self.go.wait(10)
        return super().hash(password, **options)


def test_the_line_before_the_hasher_is_bounded_and_places_come_back() -> None:
    async def scenario() -> None:
        argon = HeldArgon()
        hasher = PasswordHasher(argon, threads=2, waiting=3)
        argon.go.clear()
        working = [asyncio.ensure_future(hasher.hash("password")) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await hasher.hash("one too many")
        assert refused.value.retry_after >= 1
        working[4].cancel()
        argon.go.set()
        done = await asyncio.gather(*working, return_exceptions=True)
        assert sum(isinstance(result, str) for result in done) == 4
        assert await asyncio.gather(*(hasher.hash(secrets.token_hex(8)) for _ in range(5)))
        hasher.close()

    asyncio.run(scenario())
