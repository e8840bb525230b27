"""Segment hooks of SRS and MediaMTX: what is read, what is refused, and what lies in the stream's directory after."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest

from archive.errors import ArchiveError
from archive.media.playlist import LiveSegment, parse_live_playlist
from archive.problems import ForbiddenSegmentFile, MalformedSegmentHook
from archive.shipping.hook_dialects import HookedSegment, parse_mediamtx, parse_srs
from archive.shipping.hook_files import WINDOW_SEGMENTS, HookedDirectories

STREAM = UUID("01890000-0000-7000-8000-0000000000aa")
SRS = {
    "server_id": "vid-0xk989d",
    "action": "on_hls",
    "client_id": "9308h583",
    "ip": "192.168.1.10",
    "vhost": "__defaultVhost__",
    "app": "live",
    "stream": str(STREAM),
    "param": "",
    "duration": 9.36,
    "cwd": "/usr/local/srs",
    "file": f"./objs/nginx/html/live/{STREAM}/7.ts",
    "url": f"live/{STREAM}/7.ts",
    "m3u8": f"./objs/nginx/html/live/{STREAM}.m3u8",
    "m3u8_url": f"live/{STREAM}.m3u8",
    "seq_no": 100,
}
MEDIAMTX = {"event": "segment", "path": f"live/{STREAM}", "file": "/rec/live/1.ts", "duration": "2.001"}


def test_both_dialects_are_read() -> None:
    path = PurePosixPath(f"/usr/local/srs/objs/nginx/html/live/{STREAM}/7.ts")
    assert parse_srs(json.dumps(SRS).encode()) == HookedSegment(STREAM, path, 9360)
    absolute = SRS | {"file": "/data/7.ts"}
    assert parse_srs(json.dumps(absolute).encode()) == HookedSegment(STREAM, PurePosixPath("/data/7.ts"), 9360)
    expected = HookedSegment(STREAM, PurePosixPath("/rec/live/1.ts"), 2001)
    assert parse_mediamtx(MEDIAMTX.items()) == expected


def test_what_is_no_segment_is_nothing() -> None:
    assert parse_srs(b'{"action":"on_publish","stream":"x"}') is None
    assert parse_mediamtx([("event", "available"), ("path", "live/x")]) is None
    assert parse_mediamtx([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "mystream"},
        {"stream": ""},
        {"duration": 0},
        {"duration": -1},
        {"duration": 1e9},
        {"duration": "NaN"},
        {"duration": None},
        {"cwd": ""},
        {"cwd": "objs"},
        {"file": "7.mp4"},
        {"file": "a\x00b.ts"},
        {"file": "x" * 5000 + ".ts"},
        {"file": ["7.ts"]},
        {"action": 7},
    ],
)
def test_malformed_hooks_of_srs_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedSegmentHook):
        parse_srs(json.dumps(SRS | change).encode())


@pytest.mark.parametrize("body", [b"", b"0", b"[]", b"null", b"\xff\xfe", b'{"action":"on_hls"}', b"{" * 10_000])
def test_bodies_that_are_no_hook_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedSegmentHook):
        parse_srs(body)


@pytest.mark.parametrize(
    "change",
    [{"path": "live/other"}, {"file": "rec/1.ts"}, {"file": "/rec/1.mp4"}, {"duration": "inf"}, {"duration": "2s"}],
)
def test_malformed_hooks_of_mediamtx_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(MalformedSegmentHook):
        parse_mediamtx((MEDIAMTX | change).items())


def test_a_path_cannot_smuggle_a_second_field_in() -> None:
    with pytest.raises(MalformedSegmentHook, match="stands twice"):
        parse_mediamtx([*MEDIAMTX.items(), ("file", "/etc/other.ts")])


class Server:
    """A media server's directory of segments."""

    def __init__(self, root: Path) -> None:
        self.root = root / "server"
        self.hls = root / "hls"
        self.root.mkdir()
        self.directories = HookedDirectories(self.root, self.hls, bytes_max=10_000)
        self._at = 1_700_000_000.0

    def close(self, name: str, *, after_seconds: float = 2.0, body: bytes = b"segment") -> PurePosixPath:
        path = self.root / name
        path.write_bytes(body)
        self._at += after_seconds
        os.utime(path, (self._at, self._at))
        return PurePosixPath(path)

    def take(self, name: str, *, after_seconds: float = 2.0) -> str:
        return self.directories.take(STREAM, self.close(name, after_seconds=after_seconds), 2000)

    def window(self) -> list[LiveSegment]:
        return parse_live_playlist((self.hls / str(STREAM) / "index.m3u8").read_text())

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.hls / str(STREAM)).iterdir())


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_segments_become_numbered_files_and_a_rolling_playlist(server: Server) -> None:
    for number in range(WINDOW_SEGMENTS + 5):
        assert server.take(f"{number + 40}.ts") == "taken"
    assert [segment.sequence for segment in server.window()] == list(range(5, WINDOW_SEGMENTS + 5))
    assert not any(segment.discontinuity for segment in server.window())
    assert {segment.duration_ms for segment in server.window()} == {2000}
    first = server.hls / str(STREAM) / "0.ts"
    assert first.stat().st_ino == (server.root / "40.ts").stat().st_ino
    assert len(server.files()) == WINDOW_SEGMENTS + 5 + 1


def test_a_hook_that_comes_again_or_late_changes_nothing(server: Server) -> None:
    early = server.close("early.ts")
    server.take("1.ts")
    server.take("2.ts")
    before = server.files(), server.window()
    for path in (early, server.root / "1.ts", server.root / "2.ts"):
        assert server.directories.take(STREAM, PurePosixPath(path), 2000) == "known"
    assert (server.files(), server.window()) == before


def test_a_gap_and_a_restart_of_the_servers_numbers_begin_anew(server: Server) -> None:
    server.take("7.ts")
    server.take("8.ts")
    server.take("0.ts", after_seconds=6)
    server.take("1.ts")
    assert [segment.discontinuity for segment in server.window()] == [True, False, True, False]
    assert [segment.sequence for segment in server.window()] == [0, 1, 2, 3]


def test_a_process_killed_between_file_and_playlist_loses_neither(server: Server) -> None:
    server.take("0.ts")
    path = server.close("1.ts")
    (server.hls / str(STREAM) / "1.ts").hardlink_to(path)
    # The hook may come again, or never.
    assert server.directories.take(STREAM, path, 2000) == "taken"
    left = server.close("2.ts")
    (server.hls / str(STREAM) / "2.ts").hardlink_to(left)
    assert server.take("3.ts") == "taken"
    assert [segment.sequence for segment in server.window()] == [0, 1, 3]
    assert server.files() == ["0.ts", "1.ts", "2.ts", "3.ts", "index.m3u8"]


def test_files_elsewhere_are_refused(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "secret.ts"
    outside.write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.ts").write_bytes(b"secret")
    (server.root / "link.ts").symlink_to(outside)
    (server.root / "folder").symlink_to(tmp_path / "elsewhere")
    (server.root / "directory.ts").mkdir()
    (server.root / "empty.ts").touch()
    (server.root / "large.ts").write_bytes(b"x" * 10_001)
    os.mkfifo(server.root / "pipe.ts")
    refused = [
        outside,
        server.root / "../secret.ts",
        server.root / "link.ts",
        server.root / "folder/1.ts",
        *(server.root / name for name in ("directory.ts", "empty.ts", "large.ts", "pipe.ts", "missing.ts")),
        Path("/proc/self/environ"),
        Path("/dev/zero"),
    ]
    for path in refused:
        with pytest.raises(ForbiddenSegmentFile):
            server.directories.take(STREAM, PurePosixPath(path), 2000)
    assert not (server.hls / str(STREAM)).exists()


def test_a_playlist_that_is_none_is_begun_anew_after_the_last_file(server: Server) -> None:
    server.take("0.ts")
    (server.hls / str(STREAM) / "index.m3u8").write_text("garbage")
    try:
        assert server.take("1.ts") == "taken"
    except ArchiveError:
        pytest.fail("a broken playlist must not stop the stream")
    assert [segment.sequence for segment in server.window()] == [1]
