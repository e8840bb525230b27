"""What a rendition's playlist names: its own chunks, and for those that are not there the source's segments; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archive.ladder.chunks import ChunkState
from archive.ladder.ladder import SOURCE, SourceSegment
from archive.media.playlist import PlaylistEntry
from archive.objects.keys import chunk_name


@dataclass(frozen=True, slots=True)
class Piece:
    """One line of the playlist, and how large it is."""

    uri: str
    duration_ms: int
    size_bytes: int
    discontinuity: bool
    of_source: bool


def pieces_of(rendition: str, chunks: Sequence[ChunkState], source: Sequence[SourceSegment]) -> list[Piece]:
    """The pieces in playing order. Size and codec parameters change where the source plays: discontinuities are there
    (RFC 8216 4.3.2.3).
    """
    pieces: list[Piece] = []
    for chunk in chunks:
        changes = bool(pieces) and pieces[-1].of_source == (rendition in chunk.made)
        jumps = chunk.discontinuity or changes
        if rendition in chunk.made:
            made = chunk.made[rendition]
            name = chunk_name(chunk.number, chunk.fence)
            pieces.append(Piece(name, chunk.duration_ms, made.size_bytes, jumps, of_source=False))
        else:
            pieces += _of_source(chunk, source, jumps=jumps)
    return pieces


def _of_source(chunk: ChunkState, source: Sequence[SourceSegment], *, jumps: bool) -> list[Piece]:
    played = [one for one in source if chunk.first_sequence <= one.sequence <= chunk.last_sequence]
    return [
        Piece(f"../{SOURCE}/{one.sequence}.ts", one.duration_ms, one.size_bytes, jumps and at == 0, of_source=True)
        for at, one in enumerate(played)
    ]


def entries_of(pieces: Sequence[Piece]) -> list[PlaylistEntry]:
    """The pieces as lines of a playlist."""
    return [PlaylistEntry(piece.uri, piece.duration_ms, piece.discontinuity) for piece in pieces]
