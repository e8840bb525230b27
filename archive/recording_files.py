"""Rows of the objects beside a recording's renditions: written in the transaction that marks their job done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from archive.store import QUERIES, RecordingFile
from runtime.postgres import Connection


async def put_files(
    connection: Connection, stream_id: UUID, files: Sequence[RecordingFile], *, rendition: str | None = None
) -> None:
    """These are the recording's files of their roles (and of ``rendition``) now; others of those roles are forgotten.

    A forgotten object has no name any more, and the sweeper collects it.
    """
    for file in files:
        await QUERIES.add_file(
            connection,
            stream_id=stream_id,
            name=file.name,
            role=file.role,
            size_bytes=file.size_bytes,
            particulars=json.dumps(dict(file.particulars)),
        )
    await QUERIES.forget_other_files(
        connection,
        stream_id=stream_id,
        roles=list({file.role for file in files}),
        names=[file.name for file in files],
        rendition=rendition,
    )


def file_key(stream_id: UUID, name: str) -> str:
    """Where a file of a recording is in the store."""
    return f"{stream_id}/{name}"
