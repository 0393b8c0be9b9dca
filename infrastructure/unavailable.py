"""The refusals that pass by themselves: whoever asks again later may well be served."""


class Unavailable(Exception):
    """Something needed is away for the moment. `retry_after` is in seconds, whole and at least 1."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """All is well, but the line is full."""
