"""Statements that a thread carries out, in order, while the next ones are prepared.

Not a pipeline of libpq: in one the server takes a client that fell silent for one that has not finished, and never takes its
locks back. Here each statement is over before the next is sent, and a client that stops in between is idle in its transaction.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

import msgspec
import psycopg

TURN_SECONDS: Final = 0.0005
"""How long a thread goes on while another one wants to. Of Python's own five milliseconds the server would wait as long for
its next statement, each time."""


@contextmanager
def short_turns() -> Iterator[None]:
    """The threads of this process take short turns meanwhile."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Refused(msgspec.Struct, frozen=True):
    """The first statement that failed: for whom it was, and why."""

    whose: str
    error: Exception


class Ahead:
    """A connection in a transaction, to those who need of it no more than `execute`.

    What was not carried out when it is left because of an error never is, so that the transaction can be rolled back. `whose`
    says for whom the next statements are; after the first that fails all others fail as it did.
    """

    def __init__(self, connection: psycopg.Connection[Any], thread: ThreadPoolExecutor) -> None:
        self.whose = ""
        self.refused: Refused | None = None
        self._connection = connection
        self._thread = thread
        self._sent: list[Future[psycopg.Cursor[Any]]] = []

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None:
            for statement in self._sent:
                statement.cancel()
        wait(self._sent)

    def execute(self, query: bytes | str, params: Any = None, *, prepare: bool | None = None) -> "Answer":
        """As that of a connection; the answer is waited for by whoever looks at it."""
        statement = self._thread.submit(self._carry_out, self.whose, query, params, prepare)
        self._sent.append(statement)
        return Answer(statement)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a connection has, once all that was sent is done."""
        wait(self._sent)
        return getattr(self._connection, name)

    def _carry_out(self, whose: str, query: Any, params: Any, prepare: bool | None) -> psycopg.Cursor[Any]:
        if self.refused:
            raise self.refused.error
        try:
            return self._connection.execute(query, params, prepare=prepare)
        except Exception as error:
            self.refused = Refused(whose, error)
            raise


class Answer:
    """A cursor that is waited for."""

    def __init__(self, statement: Future[psycopg.Cursor[Any]]) -> None:
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._statement.result(), name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._statement.result())
