"""The playlist that viewers of a running stream go back with: every segment that is in the store, and it only grows.

A playlist of type EVENT may not change but at its end (RFC 8216 4.3.3.5), so a segment is listed only once all before
it are, or have been missing for so long that they are passed over; one that comes later still is left out for good.
That depends on nothing but the rows, so every process, restarted or not, says the same.

The target duration must not change either (6.2.1), and nobody knows how long the longest segment will be: nginx-rtmp
cuts at key frames, and an encoder that is left alone sends one in 8.3 s. So it is TARGET_SECONDS from the beginning,
and grows only if a segment is longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from archive.media.playlist import END, PlaylistEntry, entry_lines, event_head, target_seconds
from archive.objects.keys import source_segment_key
from archive.store import QUERIES, SEGMENTS_MAX
from runtime.postgres import Pool

TARGET_SECONDS = 10
# A segment that is not there so long after a later one is passed over.
HOLE_SECONDS = 15.0
# Viewers that ask at the same time are answered from one look.
LOOK_AGAIN_SECONDS = 1.0
CACHE_BYTES_MAX = 64 << 20
CACHE_STREAMS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class ShippedSegment:
    """A segment that is in the store, and for how long."""

    sequence: int
    duration_ms: int
    discontinuity: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class RewindText:
    """The playlist as it is now; ``version`` is another one when it is."""

    body: bytes
    version: str
    segments: int


class RewindPlaylist:
    """One stream's playlist, and where it goes on."""

    def __init__(self, stream_id: UUID, playback_path: str) -> None:
        self._stream_id = stream_id
        self._playback_path = playback_path
        self._target_seconds = TARGET_SECONDS
        self._entries = bytearray()
        self._segments = 0
        self.next_sequence = 0
        self.ended = False

    def add(self, rows: Sequence[ShippedSegment], *, ended: bool) -> None:
        """List those of ``rows`` that may be: all from ``next_sequence`` on, in order.

        ``ended``: no more will come.
        """
        oldest_later = _oldest_later(rows)
        for row, oldest_seconds in zip(rows, oldest_later, strict=True):
            if oldest_seconds - row.age_seconds > HOLE_SECONDS:
                continue  # it came after it was passed over
            hole = row.sequence != self.next_sequence
            if hole and not ended and max(oldest_seconds, row.age_seconds) < HOLE_SECONDS:
                return
            self._list(row, hole=hole)
        self.ended = ended

    def _list(self, row: ShippedSegment, *, hole: bool) -> None:
        uri = f"{self._playback_path}/{source_segment_key(self._stream_id, row.sequence)}"
        entry = PlaylistEntry(uri, row.duration_ms, row.discontinuity or hole)
        lines = entry_lines(entry, first=self._segments == 0)
        self._entries += ("\n".join(lines) + "\n").encode()
        self._target_seconds = max(self._target_seconds, target_seconds(row.duration_ms))
        self._segments += 1
        self.next_sequence = row.sequence + 1

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory, with the text that was made of it."""
        return 2 * len(self._entries)

    def text(self) -> RewindText:
        """The playlist now."""
        end = f"{END}\n" if self.ended else ""
        body = event_head(self._target_seconds).encode() + self._entries + end.encode()
        version = f"{self.next_sequence}-{self._segments}-{self._target_seconds}-{'ended' if self.ended else 'runs'}"
        return RewindText(body, version, self._segments)


def _oldest_later(rows: Sequence[ShippedSegment]) -> list[float]:
    """For each row, the age of the oldest one after it; 0 where there is none."""
    ages, oldest = [], 0.0
    for row in reversed(rows):
        ages.append(oldest)
        oldest = max(oldest, row.age_seconds)
    return ages[::-1]


class _Kept:
    def __init__(self, playlist: RewindPlaylist) -> None:
        self.playlist = playlist
        self.text: RewindText | None = None
        self.looked_at = float("-inf")
        self.looking = asyncio.Lock()


class Rewinds:
    """The playlists that were asked for last; a request costs the rows since the one before."""

    def __init__(self, pool: Pool, *, playback_path: str) -> None:
        self._pool = pool
        self._playback_path = playback_path
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()

    async def text(self, stream_id: UUID, *, ended: bool) -> RewindText:
        """A stream's playlist, at most LOOK_AGAIN_SECONDS old; ``ended``: its recording plays, or never will."""
        kept = self._kept.get(stream_id)
        if kept is None:
            kept = self._kept[stream_id] = _Kept(RewindPlaylist(stream_id, self._playback_path))
        self._kept.move_to_end(stream_id)
        async with kept.looking:
            if ended and not kept.playlist.ended:
                # From its beginning: what the store turned out not to have must not be named.
                kept.playlist = RewindPlaylist(stream_id, self._playback_path)
                kept.looked_at = float("-inf")
            if kept.text is None or (not kept.playlist.ended and time.monotonic() >= kept.looked_at):
                kept.text = await self._look(stream_id, kept.playlist, ended=ended)
                kept.looked_at = time.monotonic() + LOOK_AGAIN_SECONDS
            text = kept.text
        self._forget()
        return text

    async def _look(self, stream_id: UUID, playlist: RewindPlaylist, *, ended: bool) -> RewindText:
        rows = await QUERIES.list_shipped_since(
            self._pool, stream_id=stream_id, next_sequence=playlist.next_sequence, rows_max=SEGMENTS_MAX
        )
        playlist.add([ShippedSegment(**row) for row in rows], ended=ended)
        return playlist.text()

    def _forget(self) -> None:
        size_bytes = sum(kept.playlist.size_bytes for kept in self._kept.values())
        while self._kept and (size_bytes > CACHE_BYTES_MAX or len(self._kept) > CACHE_STREAMS_MAX):
            _, kept = self._kept.popitem(last=False)
            size_bytes -= kept.playlist.size_bytes
