"""An application that is imported for ever, for tests of how a server is stopped meanwhile."""

import threading


def create_app() -> None:
    """Says that it is there, and never is ready."""
    print("importing", flush=True)
    threading.Event().wait()
