"""Which of a recording's segments the object store really has."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from archive.ladder import SOURCE, SourceSegment
from archive.objects import ObjectStore, rendition_key, source_segment_key


async def absent_segments(objects: ObjectStore, stream_id: UUID, segments: Sequence[SourceSegment]) -> list[int]:
    """The numbers of those that are not in the store with the size that their row says. Raises StoreUnavailable."""
    prefix = rendition_key(stream_id, SOURCE, "")
    sizes = {stored.key: stored.size_bytes async for stored in objects.list(prefix)}
    return [
        segment.sequence
        for segment in segments
        if sizes.get(source_segment_key(stream_id, segment.sequence)) != segment.size_bytes
    ]
