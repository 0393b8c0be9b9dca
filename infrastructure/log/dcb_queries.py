"""Queries of the library's boundary interface as statements over our log: at which positions something matches."""

from collections.abc import Sequence

from eventsourcing.dcb.api import DCBEvent, DCBQuery, DCBQueryItem
from psycopg.sql import SQL, Composable, Composed, Identifier

from domain.tags import tag_id
from infrastructure.log.dcb_form import dcb_topic, type_tag


class PositionQueries:
    """Statements over the log in one schema."""

    def __init__(self, schema: str) -> None:
        self._events = Identifier(schema, "events")
        self._tags = Identifier(schema, "event_tags")

    def positions(self, query: DCBQuery, after: int, *, by_topic: bool) -> Composable:
        """The positions after a position of what matches, as far as the indexes know it; `by_topic`: also what none of them
        knows by its type."""
        if not query.items:
            return SQL("SELECT notification_id AS position FROM {} WHERE notification_id > {}").format(self._events, after)
        parts: list[Composable] = []
        for item in query.items:
            if item.tags:
                parts.append(self._tagged(item.tags, item.types, after))
            elif not item.types:
                parts.append(self.positions(DCBQuery(), after, by_topic=by_topic))
            else:
                parts += [self._tagged([type_tag(kind)], [], after) for kind in item.types]
                if by_topic:
                    parts.append(self._of_topics(item.types, after))
        return SQL(" UNION ALL ").join(parts)

    def _tagged(self, tags: Sequence[str], types: Sequence[str], after: int) -> Composed:
        first, *others = dict.fromkeys(tags)
        statement = SQL("SELECT t.position FROM {} t WHERE t.tag = {} AND t.position > {}").format(
            self._tags, tag_id(first), after
        )
        for tag in others:
            statement += SQL(" AND EXISTS (SELECT FROM {} o WHERE o.tag = {} AND o.position = t.position)").format(
                self._tags, tag_id(tag)
            )
        if types:
            statement += SQL(
                " AND EXISTS (SELECT FROM {} e WHERE e.notification_id = t.position AND e.topic = ANY({}))"
            ).format(self._events, _topics(types))
        return statement

    def _of_topics(self, types: Sequence[str], after: int) -> Composed:
        return SQL("SELECT notification_id FROM {} WHERE notification_id > {} AND topic = ANY({})").format(
            self._events, after, list(types)
        )


def matches(query: DCBQuery, event: DCBEvent) -> bool:
    """Whether the event matches, exactly: what the log's tags tell are digests."""
    return not query.items or any(_matches_item(item, event) for item in query.items)


def _matches_item(item: DCBQueryItem, event: DCBEvent) -> bool:
    return (not item.types or event.type in item.types) and set(item.tags) <= set(event.tags)


def _topics(types: Sequence[str]) -> list[str]:
    return [*map(dcb_topic, types), *types]
