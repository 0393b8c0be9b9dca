"""What a command can be refused for. Each error carries a stable code; only the HTTP edge knows statuses."""


class DomainError(Exception):
    """A refusal with a stable machine-readable `code`, a sentence for a person and, where one is to blame, a `field`.

    `position` is where the log stood when it was decided, None where the decision rests on nothing of the log.
    """

    position: int | None = None

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class RuleViolated(DomainError):
    """The command is understood and permitted, but the state does not allow it."""


class InvalidValue(DomainError):
    """A value is outside its bounds whatever the state is; `field` names it."""


class NotFound(DomainError):
    """There is no such thing, or the principal may not know that there is."""


class NotPermitted(DomainError):
    """The principal is known and may not do this."""


class NotAuthenticated(DomainError):
    """Who is asking could not be established: wrong credentials, or a token that is not good (any more)."""
