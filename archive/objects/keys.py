"""The keys of a recording's objects, and how each kind of them is served."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from runtime.objects import ObjectKind

MASTER = "master.m3u8"
INDEX = "index.m3u8"

# A segment never changes under its name, so caches may keep it for a year (RFC 8246).
SEGMENT = ObjectKind("video/mp2t", "public, max-age=31536000, immutable")
# A master playlist is rewritten once the ladder is there; the type is that of RFC 8216 4.
PLAYLIST = ObjectKind("application/vnd.apple.mpegurl", "public, max-age=5")
# What is made again gets another name.
JPEG = ObjectKind("image/jpeg", "public, max-age=31536000, immutable")
VTT = ObjectKind("text/vtt", "public, max-age=31536000, immutable")
MP4 = ObjectKind("video/mp4", "public, max-age=31536000, immutable")
# What this version does not know, and a later one has stored.
UNKNOWN = ObjectKind("application/octet-stream", "public, max-age=5")
KINDS_BY_ENDING = {".ts": SEGMENT, ".m3u8": PLAYLIST, ".jpg": JPEG, ".vtt": VTT, ".mp4": MP4}


def kind_of(key: str) -> ObjectKind:
    """How an object with this key is served."""
    return KINDS_BY_ENDING.get(Path(key).suffix, UNKNOWN)


def source_segment_key(stream_id: UUID, sequence: int) -> str:
    """Where one segment of the source rendition is."""
    return f"{stream_id}/source/{sequence}.ts"


def chunk_name(number: int, fence: int) -> str:
    """A rendition's segment: the fence is in its name, so no late worker can replace what a playlist names."""
    return f"{number}-{fence}.ts"


def rendition_key(stream_id: UUID, rendition: str, name: str) -> str:
    """Where one object of a rendition is."""
    return f"{stream_id}/{rendition}/{name}"


def master_key(stream_id: UUID) -> str:
    """Where a recording's master playlist is."""
    return f"{stream_id}/{MASTER}"
