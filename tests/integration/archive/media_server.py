"""A media server's disk as nginx-rtmp writes it: rolling playlist, closed segments named, one more being written."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from uuid import UUID

WINDOW_SEGMENTS = 15


class MediaServerDisk:
    """One stream's directory."""

    def __init__(self, root: Path, stream_id: UUID | str, *, window_segments: int = WINDOW_SEGMENTS) -> None:
        self.directory = root / str(stream_id)
        self._window: deque[tuple[int, int, bool]] = deque(maxlen=window_segments)
        self._next = 0
        self._discontinuity = True

    def begin(self, body: bytes) -> None:
        """Write the first half of the next segment."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{self._next}.ts").write_bytes(body[: len(body) // 2])

    def close(self, body: bytes, duration_ms: int) -> None:
        """Write all of the next segment, then name it in the playlist."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{self._next}.ts").write_bytes(body)
        self._window.append((self._next, duration_ms, self._discontinuity))
        self._next, self._discontinuity = self._next + 1, False
        self._write_playlist()

    def abandon(self, body: bytes) -> None:
        """Write all of the next segment and die before it is named."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{self._next}.ts").write_bytes(body)

    def reconnect(self) -> None:
        """The publisher comes back: the next segment begins anew."""
        self._discontinuity = True

    def _write_playlist(self) -> None:
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-MEDIA-SEQUENCE:{self._window[0][0]}"]
        lines.append(f"#EXT-X-TARGETDURATION:{max(duration for _, duration, _ in self._window) // 1000 + 1}")
        for sequence, duration_ms, discontinuity in self._window:
            lines += ["#EXT-X-DISCONTINUITY"] * discontinuity
            lines += [f"#EXTINF:{duration_ms / 1000:.3f},", f"{sequence}.ts"]
        unfinished = self.directory / "index.m3u8.bak"
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self.directory / "index.m3u8")
