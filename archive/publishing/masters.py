"""Writes a recording's master playlist: what it names is read, and it is put, under one lock.

Whoever changes what the master names (the finaliser, the completion of a ladder, captions) changes the rows and calls
`write_master` last in the same transaction. So of two that change something at once the second sees the first one's
rows, and no master can be older than the rows that are committed. The rows of objects come after the objects: what the
master names is in the store before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from archive.media.playlist import CaptionTrack, Variant, master_playlist
from archive.objects.keys import INDEX, PLAYLIST, master_key
from archive.store import QUERIES
from eventbus.outbox import Transaction
from runtime.objects import ObjectStore, StoreUnavailable

# The database ends a transaction that is idle for 10 s.
PUT_SECONDS_MAX = 8.0


async def write_master(transaction: Transaction, objects: ObjectStore, stream_id: UUID) -> tuple[str, ...]:
    """Put the master playlist that the rows ask for as this transaction sees them; the renditions it names, best first.

    Nothing is put for a recording whose objects have been removed, or that has no rendition. Raises StoreUnavailable,
    also when the store takes too long: the transaction must then be rolled back, and what it did be tried again.
    """
    connection = transaction.connection
    if await QUERIES.lock_master(connection, stream_id=stream_id) is None:
        return ()
    rows = await QUERIES.list_ready_renditions(connection, stream_id=stream_id)
    if not rows:
        return ()
    tracks = await QUERIES.list_caption_tracks(connection, stream_id=stream_id)
    text = master_playlist([_variant(row) for row in rows], [_track(row) for row in tracks])
    key = master_key(stream_id)
    try:
        async with asyncio.timeout(PUT_SECONDS_MAX):
            await objects.put_bytes(key, text.encode(), PLAYLIST)
    except TimeoutError as error:
        raise StoreUnavailable(f"put {key}", f"it took more than {PUT_SECONDS_MAX} s") from error
    return tuple(row["name"] for row in rows)


def _variant(row: Mapping[str, Any]) -> Variant:
    return Variant(
        uri=f"{row['name']}/{INDEX}",
        width_px=row["width_px"],
        height_px=row["height_px"],
        frame_rate=row["frame_rate"],
        codecs=row["codecs"],
        bits_per_second_peak=row["bits_per_second_peak"],
        bits_per_second_average=row["bits_per_second_average"],
    )


def _track(row: Mapping[str, Any]) -> CaptionTrack:
    told = json.loads(row["particulars"])
    return CaptionTrack(uri=told["playlist"], language=told["language"], label=told["label"])
