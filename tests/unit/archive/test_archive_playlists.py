"""Playlists: what the media server writes is read, and what we write is what RFC 8216 asks for."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.errors import PlaylistUnreadable
from archive.media.playlist import (
    LiveSegment,
    PlaylistEntry,
    Variant,
    bits_per_second,
    master_playlist,
    parse_live_playlist,
    vod_playlist,
)

ROLLING = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-MEDIA-SEQUENCE:4
#EXT-X-TARGETDURATION:9
#EXT-X-DISCONTINUITY
#EXTINF:2.000,
4.ts
#EXTINF:8.333,
5.ts
#EXT-X-DISCONTINUITY
#EXTINF:0.467,
6.ts
"""


def test_the_rolling_playlist_tells_numbers_durations_and_reconnects() -> None:
    assert parse_live_playlist(ROLLING) == [
        LiveSegment(4, 2000, discontinuity=True),
        LiveSegment(5, 8333, discontinuity=False),
        LiveSegment(6, 467, discontinuity=True),
    ]


def test_a_playlist_without_segments_yet_is_fine() -> None:
    assert parse_live_playlist("#EXTM3U\n#EXT-X-VERSION:3\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a playlist",
        "#EXTM3U\n0.ts\n",
        "#EXTM3U\n#EXTINF:2.0,\n../../etc/passwd\n",
        "#EXTM3U\n#EXTINF:2.0,\nhttp://elsewhere.example/0.mp4\n",
        "#EXTM3U\n#EXTINF:-2.0,\n0.ts\n",
        "#EXTM3U\n#EXTINF:nan,\n0.ts\n",
        "#EXTM3U\n#EXTINF:2.0,\n٣.ts\n",
        "#EXTM3U\n#EXTINF:2.0,\n99999999999999.ts\n",
        "#EXTM3U\n" + "#EXTINF:2.0,\n1.ts\n" * 10_001,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(PlaylistUnreadable):
        parse_live_playlist(text)


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text: str) -> None:
    with suppress(PlaylistUnreadable):
        parse_live_playlist("#EXTM3U\n" + text)


def test_a_vod_playlist_ends_and_marks_reconnects() -> None:
    entries = [
        PlaylistEntry("0.ts", 2000, discontinuity=True),
        PlaylistEntry("1.ts", 8333, discontinuity=False),
        PlaylistEntry("2.ts", 467, discontinuity=True),
    ]
    assert vod_playlist(entries) == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:8\n#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXTINF:2.000,\n0.ts\n#EXTINF:8.333,\n1.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:0.467,\n2.ts\n#EXT-X-ENDLIST\n"
    )


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=50))
def test_no_rounded_duration_exceeds_the_target(durations_ms: list[int]) -> None:
    text = vod_playlist(PlaylistEntry(f"{n}.ts", ms, discontinuity=False) for n, ms in enumerate(durations_ms))
    target = int(next(line for line in text.splitlines() if "TARGETDURATION" in line).partition(":")[2])
    assert all(int(ms / 1000 + 0.5) <= target for ms in durations_ms)


def test_the_master_names_what_is_known_and_leaves_out_what_is_not() -> None:
    best = Variant("source/index.m3u8", 1280, 720, 30.0, "avc1.64001f,mp4a.40.2", 3_000_000, 2_500_000)
    lower = Variant("480p/index.m3u8", 854, 480, 0.0, None, 1_000_000, 900_000)
    sound = Variant("source/index.m3u8", 0, 0, 0.0, "mp4a.40.2", 130_000, 128_000)
    assert master_playlist([best, lower]) == (
        "#EXTM3U\n#EXT-X-VERSION:3\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,RESOLUTION=1280x720,"
        'CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=30.000\nsource/index.m3u8\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=900000,RESOLUTION=854x480\n480p/index.m3u8\n"
    )
    assert "RESOLUTION" not in master_playlist([sound])


def test_bandwidth_is_that_of_the_heaviest_piece_and_of_all() -> None:
    assert bits_per_second([(250_000, 2000), (1_000_000, 2000)]) == (4_000_000, 2_500_000)
    assert bits_per_second([]) == (1, 1)
