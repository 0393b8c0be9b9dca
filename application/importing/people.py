"""Who the people are whom a history names. Their ids are random, and say nothing: what tells whose one is can be destroyed."""

from collections.abc import Callable, Mapping
from uuid import UUID, uuid4


class People:
    """The ids of one workspace's imported people, by their names: those that are kept, and new ones for whom nobody kept any.

    Rows that name nobody are the importing user's, who owns the workspace.
    """

    def __init__(self, owner_id: UUID, kept: Mapping[str, UUID] | None = None, new_id: Callable[[], UUID] = uuid4) -> None:
        self._owner_id = owner_id
        self._ids = dict(kept or {})
        self._new_id = new_id

    def id_of(self, name: str) -> UUID:
        """The person's id, the same for the same name."""
        if not name:
            return self._owner_id
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = self._new_id()
        return known

    def learn(self, kept: Mapping[str, UUID]) -> None:
        """Take ids that somebody else kept first."""
        self._ids.update(kept)
