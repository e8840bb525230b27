"""Which of a recording's segments the object store really has."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from archive.ladder.ladder import SourceSegment
from archive.objects.keys import source_segment_key
from runtime.objects import ObjectStore


async def absent_segments(objects: ObjectStore, stream_id: UUID, segments: Sequence[SourceSegment]) -> list[int]:
    """The numbers of those that are not in the store with the size that their row says. Raises StoreUnavailable."""
    keys = {segment.sequence: source_segment_key(stream_id, segment.sequence) for segment in segments}
    sizes = await objects.sizes(keys.values())
    return [segment.sequence for segment in segments if sizes.get(keys[segment.sequence]) != segment.size_bytes]
