"""What the API writes to its log: one record is one line, whatever the record holds, and says which request it belongs to."""

import logging
import sys
from contextvars import ContextVar
from typing import Final

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="-")
"""The request that is being served in this context; `-` outside of any."""

# The server's own loggers, which would write in a form of their own.
_SERVERS: Final = ("_granian", "granian.access")

_ESCAPES: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))
} | {
    # Line ends and direction marks of Unicode, which terminals and log viewers follow as well.
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x200B, *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x206A), 0xFEFF)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord("\\"): "\\\\"}  # fmt: skip


def one_line(text: str) -> str:
    """The text without anything that would end a line or steer a terminal; what was there is shown escaped."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


class OneLine(logging.Formatter):
    """Time, level, logger, request and message, a traceback included, in one line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self.default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        request_id = REQUEST_ID.get()
        line = one_line(super().format(record))
        return line if request_id == "-" else f"{line} request_id={request_id}"


class _ToStandardError(logging.Handler):
    """Writes wherever standard error leads at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - logging never fails the request that it is about
            self.handleError(record)


def log_to_standard_error() -> None:
    """Send what this process logs to standard error in this form; once, however often it is called."""
    root = logging.getLogger()
    if not any(isinstance(handler, _ToStandardError) for handler in root.handlers):
        handler = _ToStandardError()
        handler.setFormatter(OneLine())
        root.addHandler(handler)
    logging.getLogger("taskmaster").setLevel(logging.INFO)
    for name in _SERVERS:
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
