"""The limits of an API process by who asks: which budgets apply to whom, and whose they are."""

from hashlib import blake2b, sha256

from application.principal import Principal
from infrastructure.limits.budgets import Budget, Budgets
from infrastructure.limits.limit_accounts import Account, Charge
from infrastructure.limits.limiter import Limiter


class Limits:
    """Gives the accounts that requests are charged to; None where nothing limits them.

    Addresses are what `ClientAddresses.key` makes of them. People's names for accounts go into keys only as keyed digests.
    """

    def __init__(self, limiter: Limiter, budgets: Budgets, secret: str) -> None:
        self.limiter = limiter
        self.budgets = budgets
        self._secret = sha256(secret.encode()).digest()

    def of_principal(self, principal: Principal, address: str, *, reports: bool = False) -> Account | None:
        """For whoever has a good token: his own budget, his workspace's, that of his address."""
        return self._account(
            (self.budgets.user, str(principal.principal_id)),
            (self.budgets.workspace, str(principal.workspace_id)),
            (self.budgets.address, address),
            (self.budgets.reports if reports else None, str(principal.principal_id)),
        )

    def of_address(self, route_class: str, address: str) -> Account | None:
        """For whoever has none: the budget of the route's class, `anonymous` where it has none of its own."""
        budget: Budget | None = getattr(self.budgets, route_class)
        return self._account((budget, address))

    def of_password(self, whose: str, address: str) -> Account | None:
        """For a try at a password, by account and address: so nobody can lock another one out, who comes from elsewhere.

        `whose` is the account as it is compared.
        """
        digest = blake2b(whose.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).hexdigest()
        return self._account((self.budgets.sign_in, f"{digest}:{address}"))

    def _account(self, *applying: tuple[Budget | None, str]) -> Account | None:
        charges = [Charge(budget, owner) for budget, owner in applying if budget is not None]
        return self.limiter.account(charges) if charges else None
