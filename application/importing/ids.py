"""The ids of what is imported, all derived here; those of people are random, see `people`.

They follow from what is imported and into which workspace, so that whatever file it comes from, it is recognised. They are
digests under the workspace's own secret: without it nobody can try out what a title or a name was, and destroying it ends that
for good.
"""

import hmac
from uuid import UUID

import msgspec

from application.importing.rows import TicketRow

_encode = msgspec.msgpack.Encoder().encode


class ImportSource(msgspec.Struct, frozen=True):
    """What is imported, by whom and into which project of which workspace. `secret` is the workspace's, `file_digest` of the
    file's text. Tasks that are there already stay in their projects.
    """

    workspace_id: UUID
    owner_id: UUID
    secret: bytes
    mapping_name: str
    file_digest: bytes
    project_id: UUID

    @property
    def import_id(self) -> UUID:
        """The import's id, the correlation id of all its events: the same when the same file is imported again."""
        return self._id("import", self.mapping_name, self.file_digest)

    def task_id(self, case: str) -> UUID:
        """The task of a case: the same in every file that is imported with the mapping of this name."""
        return self._id("ticket", self.mapping_name, case)

    def row_id(self, row: TicketRow, occurrence: int) -> UUID:
        """The command of a row, known by its ticket and content; `occurrence` counts rows that are the same in both."""
        step = (self.mapping_name, row.case, row.activity, row.at, row.resource)
        return self._id("row", step, row.values, row.attributes, occurrence)

    def _id(self, *parts: object) -> UUID:
        digest = hmac.digest(self.secret, _encode((self.workspace_id.bytes, *parts)), "sha256")
        # RFC 9562, version 8: the bits are our own.
        return UUID(bytes=bytes((*digest[:6], digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80, *digest[9:16])))
