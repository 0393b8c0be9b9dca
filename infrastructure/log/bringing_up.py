"""What a log needs before it is served, beside its schema: the tags of this release, and a word about an epoch that begins."""

from importlib import import_module
from typing import LiteralString

from domain import tags
from infrastructure.servers.postgres import connect_sync, log_schema

_STATE: LiteralString = (
    "SELECT tag_scheme, epoch <> coalesce((SELECT epoch FROM events ORDER BY notification_id DESC LIMIT 1), 1) FROM log"
)


def bring_up(database_url: str, log_name: str) -> None:
    """Derive the log's tags anew if they are those of an older release, and say that its epoch began if that is not said.

    Raises ConfigurationError where a newer release has derived the tags.
    """
    with connect_sync(database_url, log_schema(log_name), "taskmaster start") as connection:
        scheme, is_unsaid = connection.execute(_STATE).fetchone() or (tags.TAG_SCHEME, False)
    # Imported when needed, which is seldom: who starts processes shall not wait for it.
    if scheme != tags.TAG_SCHEME:
        import_module("infrastructure.log.retagging").retag(database_url, log_name)
    if is_unsaid:
        import_module("infrastructure.log.system_stream").say_epoch(database_url, log_name)
