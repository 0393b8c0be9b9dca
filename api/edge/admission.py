"""Limits at the edge: every request is charged before it is served or refused, and told what is left."""

import time
from collections.abc import Awaitable
from typing import Any, Final

from api.edge.exchange import Exchange, Header
from api.edge.requests import AnyRequest
from application.principal import Principal
from infrastructure.bootstrap import Resources
from infrastructure.limits.limit_accounts import Account
from infrastructure.unavailable import Unavailable

FREE: Final = "free"
REPORTS: Final = "reports"
ANONYMOUS: Final = "anonymous"
MOST_KNOWN: Final = 20_000
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LEFT: Final = b"ratelimit"


class _Charged:
    """Who is charged: an account, and the budget of it that is shown."""

    __slots__ = ("account", "client", "policy", "principal")

    def __init__(self, account: Account, client: str, principal: Principal | None = None) -> None:
        self.account = account
        self.client = client
        self.principal = principal
        self.policy: Header = (b"ratelimit-policy", account.leases[0].budget.policy.encode())


class Admission:
    """Charges each request to the budgets of whoever asks. `Refused` where one is used up.

    Whoever shows a good token is charged by himself, mostly out of points that were lent ahead: then nothing is waited for.
    What leads nowhere, or comes without a good token, is charged to its address.
    """

    def __init__(self) -> None:
        self._opened: Resources | None = None
        self._known: dict[int, _Charged] = {}
        self._reports: dict[int, _Charged] = {}

    def open(self, opened: Resources) -> None:
        """Begin with the resources of this process."""
        self._opened = opened
        self._write_cost = opened.limits.budgets.write_cost
        self._spend = opened.limits.limiter.spend
        self._has_proxies = opened.addresses.has_proxies

    def __call__(self, exchange: Exchange) -> Awaitable[None] | None:
        """Charge a request; an awaitable only where something has to be waited for."""
        # A preflight is answered at the edge, for origins that are allowed.
        if self._opened is None or exchange.is_preflight:
            return None
        if self._has_proxies:
            self._see_through(exchange.scope)
        route, principal, client = exchange.route, exchange.principal, exchange.client
        route_class = "" if route is None else route.limited_as
        if principal is None:
            return self._charge_address(exchange, route_class or ANONYMOUS)
        known = (self._reports if route_class == REPORTS else self._known).get(id(principal))
        if known is None or known.principal is not principal or known.client != client:
            known = self._meet(principal, client, route_class)
            if known is None:
                return None
        if exchange.method in _READS:
            cost = 1
        else:
            cost = self._write_cost
            exchange.scope["state"]["answer_headers"] = exchange.answer_headers
        if not self._spend(known.account, cost, time.monotonic()):
            return self._wait(exchange, known, cost)
        exchange.answer_headers += (known.policy, (_LEFT, known.account.left))
        return None

    def _meet(self, principal: Principal, client: str, route_class: str) -> _Charged | None:
        assert self._opened is not None  # noqa: S101 - nothing is charged before
        address = self._opened.addresses.key(client)
        account = self._opened.limits.of_principal(principal, address, reports=route_class == REPORTS)
        if account is None:
            return None
        table = self._reports if route_class == REPORTS else self._known
        if len(table) >= MOST_KNOWN:
            table.clear()
        # Held beside its id, so that the id stays his.
        known = table[id(principal)] = _Charged(account, client, principal)
        return known

    def _charge_address(self, exchange: Exchange, route_class: str) -> Awaitable[None] | None:
        assert self._opened is not None  # noqa: S101 - nothing is charged before
        # Where a token cannot be looked at, nobody is to blame for it.
        if route_class == FREE or isinstance(exchange.refusal, Unavailable):
            return None
        exchange.scope["state"]["answer_headers"] = exchange.answer_headers
        account = self._opened.limits.of_address(route_class, self._opened.addresses.key(exchange.client))
        return None if account is None else self._wait(exchange, _Charged(account, exchange.client), 1)

    async def _wait(self, exchange: Exchange, known: _Charged, cost: int) -> None:
        assert self._opened is not None  # noqa: S101 - nothing is charged before
        await self._opened.limits.limiter.admit(known.account, cost)
        exchange.answer_headers += (known.policy, (_LEFT, known.account.left))

    def _see_through(self, scope: Any) -> None:
        """Put the client in the place of the proxy that it came through."""
        assert self._opened is not None  # noqa: S101 - nothing is charged before
        peer = scope["client"]
        if peer:
            client, scheme = self._opened.addresses.behind(peer[0], scope["headers"])
            if client != peer[0]:
                scope["client"] = (client, 0)
            if scheme is not None:
                scope["scheme"] = scheme


async def allow_password(request: AnyRequest, whose: str) -> None:
    """Charge a try at a password, before it is hashed. Raises Refused."""
    opened: Resources = request.app.state.resources
    account = opened.limits.of_password(whose, opened.addresses.key(_client(request)))
    if account is not None:
        await _charge_more(request, account, 1)


async def charge_items(request: AnyRequest, items: int) -> None:
    """Charge a batch for its items, above what it has paid as a command already. Raises Refused, before any is carried out."""
    opened: Resources = request.app.state.resources
    limits = opened.limits
    account = limits.of_principal(request.scope["user"], opened.addresses.key(_client(request)))
    if account is None:
        return
    # A batch that costs more than can ever be there would never be let in.
    beyond = min(limits.budgets.batch_cost(items), account.most) - limits.budgets.write_cost
    if beyond > 0:
        await _charge_more(request, account, beyond)


def _client(request: AnyRequest) -> str:
    client = request.scope["client"]
    return client[0] if client else ""


async def _charge_more(request: AnyRequest, account: Account, cost: int) -> None:
    """Charge, and say what is left of the account's first budget, or that it refuses, instead of what was said before."""
    opened: Resources = request.app.state.resources
    headers: list[Header] = request.scope["state"].get("answer_headers", [])
    headers[:] = [pair for pair in headers if pair[0] not in {_LEFT, b"ratelimit-policy"}]
    await opened.limits.limiter.admit(account, cost)
    headers += ((b"ratelimit-policy", account.leases[0].budget.policy.encode()), (_LEFT, account.left))
