"""A cheap look at an MPEG-TS file: how many pictures and packets of sound begin in it, and when.

Reads the tables and the headers of packets (ISO/IEC 13818-1 2.4.3 and 2.4.4), nothing of what is coded. Starting
ffprobe for the same costs as much as encoding many pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKET_BYTES = 188
SYNC = 0x47
TICKS_PER_SECOND = 90_000
# A time has 33 bits.
TICKS_WRAP = 1 << 33

# Stream types of ISO/IEC 13818-1 table 2-34: MPEG-2, H.264 and H.265 pictures; MPEG and AAC sound.
_PICTURE_TYPES = frozenset({0x01, 0x02, 0x1B, 0x24})
_SOUND_TYPES = frozenset({0x03, 0x04, 0x0F, 0x11})


@dataclass(frozen=True, slots=True)
class TransportFacts:
    """What begins in the file. ``picture_ms``: from the first picture's time to the last one's, 0 without any."""

    pictures: int
    sounds: int
    picture_ms: int


def look_into(path: Path) -> TransportFacts | None:
    """The facts of the file at ``path``, or None where it is not plain enough to tell. Blocks."""
    return read_transport_stream(path.read_bytes())


def read_transport_stream(body: bytes) -> TransportFacts | None:
    """The facts of a transport stream's bytes, or None where it is not plain enough to tell."""
    if not body or len(body) % PACKET_BYTES or body[::PACKET_BYTES].count(SYNC) != len(body) // PACKET_BYTES:
        return None
    programs: set[int] = set()
    kinds: dict[int, int] = {}
    times: list[int] = []
    sounds = 0
    for pid, at in _starts(body):
        if pid == 0:
            programs |= _program_map_pids(body[at : at + PACKET_BYTES])
        elif pid in programs:
            kinds |= _stream_types(body[at : at + PACKET_BYTES])
        elif kinds.get(pid) in _PICTURE_TYPES:
            time = _presentation_time(body, at)
            if time is None:
                return None
            times.append(time)
        elif kinds.get(pid) in _SOUND_TYPES:
            sounds += 1
    if not kinds or not set(kinds.values()) <= _PICTURE_TYPES | _SOUND_TYPES:
        return None
    return TransportFacts(len(times), sounds, _spread_ms(times))


def _starts(body: bytes) -> Iterator[tuple[int, int]]:
    """Packets in which something begins: their id, and where their payload begins."""
    flags, low = body[1::PACKET_BYTES], body[2::PACKET_BYTES]
    for number, first in enumerate(flags):
        if first & 0x40:
            at = number * PACKET_BYTES
            # An adaptation field goes first where bit 5 of the fourth byte says so.
            payload = at + 4 + (body[at + 4] + 1 if body[at + 3] & 0x20 else 0)
            if body[at + 3] & 0x10 and payload < at + PACKET_BYTES:
                yield (first & 0x1F) << 8 | low[number], payload


def _program_map_pids(payload: bytes) -> set[int]:
    section = _section(payload, header_bytes=8)
    entries = [section[at : at + 4] for at in range(0, len(section) - 3, 4)]
    return {(entry[2] & 0x1F) << 8 | entry[3] for entry in entries if entry[0] or entry[1]}


def _stream_types(payload: bytes) -> dict[int, int]:
    section = _section(payload, header_bytes=12)
    start = payload[0] + 1
    if len(payload) < start + 12:
        return {}
    # Descriptors of the program go before its streams.
    at = (payload[start + 10] & 0x0F) << 8 | payload[start + 11]
    types: dict[int, int] = {}
    while at + 5 <= len(section):
        types[(section[at + 1] & 0x1F) << 8 | section[at + 2]] = section[at]
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return types


def _section(payload: bytes, *, header_bytes: int) -> bytes:
    """What stands between the header of a table and its checksum; our tables fit in one packet."""
    start = payload[0] + 1
    if len(payload) < start + header_bytes:
        return b""
    length = (payload[start + 1] & 0x0F) << 8 | payload[start + 2]
    return payload[start + header_bytes : start + 3 + length - 4]


def _presentation_time(body: bytes, at: int) -> int | None:
    header = body[at : at + 14]
    if len(header) < 14 or header[:3] != b"\0\0\1" or not header[7] & 0x80:
        return None
    return (header[9] >> 1 & 0x07) << 30 | header[10] << 22 | header[11] >> 1 << 15 | header[12] << 7 | header[13] >> 1


def _spread_ms(times: list[int]) -> int:
    if not times:
        return 0
    if max(times) - min(times) > TICKS_WRAP // 2:
        times = [time + TICKS_WRAP if time < TICKS_WRAP // 2 else time for time in times]
    return (max(times) - min(times)) * 1000 // TICKS_PER_SECOND
