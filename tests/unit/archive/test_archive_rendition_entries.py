"""What a rendition's playlist names: its chunks, and the source where there is none."""

from __future__ import annotations

from archive.ladder.chunks import ChunkSegment, ChunkState
from archive.ladder.ladder import SourceSegment
from archive.ladder.rendition_entries import entries_of, pieces_of
from archive.media.playlist import vod_playlist

SOURCE = [SourceSegment(n, 2000, 500, discontinuity=n == 3) for n in range(6)]


def chunk(number: int, *, made: bool = True, discontinuity: bool = False) -> ChunkState:
    segments = {"480p": ChunkSegment(100, None)} if made else {}
    state = "done" if made else "failed"
    return ChunkState(number, 2 * number, 2 * number + 1, discontinuity, 4000, state, 1, segments, None)


def lines(*chunks: ChunkState) -> list[str]:
    playlist = vod_playlist(entries_of(pieces_of("480p", chunks, SOURCE)))
    return [line for line in playlist.splitlines() if line == "#EXT-X-DISCONTINUITY" or not line.startswith("#")]


def test_without_failures_it_names_its_own_chunks() -> None:
    assert lines(chunk(0), chunk(1, discontinuity=True), chunk(2)) == [
        "0-1.ts",
        "#EXT-X-DISCONTINUITY",
        "1-1.ts",
        "2-1.ts",
    ]


def test_the_source_plays_between_discontinuities() -> None:
    assert lines(chunk(0), chunk(1, made=False), chunk(2)) == [
        "0-1.ts",
        "#EXT-X-DISCONTINUITY",
        "../source/2.ts",
        "../source/3.ts",
        "#EXT-X-DISCONTINUITY",
        "2-1.ts",
    ]


def test_two_lost_chunks_in_a_row_have_discontinuities_around_them_alone() -> None:
    assert lines(chunk(0, made=False), chunk(1, made=False), chunk(2)) == [
        "../source/0.ts",
        "../source/1.ts",
        "../source/2.ts",
        "../source/3.ts",
        "#EXT-X-DISCONTINUITY",
        "2-1.ts",
    ]


def test_a_lost_chunk_after_a_reconnect_begins_anew() -> None:
    named = lines(chunk(0, made=False), chunk(1, made=False, discontinuity=True))
    assert named.index("#EXT-X-DISCONTINUITY") == 2


def test_durations_and_sizes_are_those_of_what_plays() -> None:
    pieces = pieces_of("480p", [chunk(0), chunk(1, made=False)], SOURCE)
    assert [(piece.duration_ms, piece.size_bytes) for piece in pieces] == [(4000, 100), (2000, 500), (2000, 500)]
