"""The rewind playlist: it only grows, every process says the same, and a hole is passed over after a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from archive.publishing.rewind import HOLE_SECONDS, TARGET_SECONDS, RewindPlaylist, ShippedSegment

STREAM = UUID("01975a7e-0000-7000-8000-000000000001")
WHOLE = 1_000.0


def playlist() -> RewindPlaylist:
    return RewindPlaylist(STREAM, "/recordings")


def shipped(*sequences: int, age_seconds: float = 0.0, duration_ms: int = 2_000) -> list[ShippedSegment]:
    return [ShippedSegment(sequence, duration_ms, sequence == 0, age_seconds) for sequence in sequences]


def named(text: bytes) -> list[int]:
    lines = text.decode().splitlines()
    return [int(line.rpartition("/")[2].removesuffix(".ts")) for line in lines if line and not line.startswith("#")]


def test_it_is_an_event_playlist_of_absolute_paths() -> None:
    growing = playlist()
    growing.add(shipped(0, 1), ended=False)
    assert growing.text().body.decode() == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXTINF:2.000,\n/recordings/{STREAM}/source/0.ts\n#EXTINF:2.000,\n/recordings/{STREAM}/source/1.ts\n"
    )


def test_it_grows_at_its_end_alone_and_is_complete_when_it_has_ended() -> None:
    growing = playlist()
    growing.add(shipped(0, 1), ended=False)
    first = growing.text()
    growing.add(shipped(2), ended=False)
    second = growing.text()
    growing.add([], ended=True)
    third = growing.text()
    assert second.body.startswith(first.body)
    assert third.body == second.body + b"#EXT-X-ENDLIST\n"
    assert len({first.version, second.version, third.version}) == 3


def test_a_segment_waits_for_the_one_before_it() -> None:
    growing = playlist()
    growing.add(shipped(0, 2, 3, age_seconds=HOLE_SECONDS - 1), ended=False)
    assert named(growing.text().body) == [0]
    growing.add(shipped(1, 2, 3, age_seconds=1.0), ended=False)
    assert named(growing.text().body) == [0, 1, 2, 3]
    assert b"DISCONTINUITY" not in growing.text().body


def test_a_hole_is_passed_over_after_a_while_or_at_the_end() -> None:
    for age_seconds, ended in ((HOLE_SECONDS, False), (0.0, True)):
        growing = playlist()
        growing.add(shipped(0, 2, 3, age_seconds=age_seconds), ended=ended)
        lines = growing.text().body.decode().splitlines()
        assert named(growing.text().body) == [0, 2, 3]
        assert lines.count("#EXT-X-DISCONTINUITY") == 1
        assert lines[lines.index("#EXT-X-DISCONTINUITY") + 2].endswith("/2.ts")


def test_reconnects_are_discontinuities() -> None:
    growing = playlist()
    growing.add([replace(one, discontinuity=True) for one in shipped(0, 1)], ended=False)
    assert growing.text().body.count(b"#EXT-X-DISCONTINUITY") == 1


def test_the_target_duration_is_there_from_the_beginning() -> None:
    growing = playlist()
    growing.add(shipped(0), ended=False)
    growing.add(shipped(1, duration_ms=8_333), ended=False)
    assert f"#EXT-X-TARGETDURATION:{TARGET_SECONDS}\n".encode() in growing.text().body
    growing.add(shipped(2, duration_ms=16_667), ended=False)
    assert b"#EXT-X-TARGETDURATION:17\n" in growing.text().body


@dataclass(frozen=True)
class Shipping:
    """When each segment got into the store, in seconds; those left out never did."""

    at_seconds: dict[int, float]

    def rows(self, now: float, from_sequence: int) -> list[ShippedSegment]:
        return [
            ShippedSegment(sequence, 2_000, discontinuity=False, age_seconds=now - at)
            for sequence, at in sorted(self.at_seconds.items())
            if sequence >= from_sequence and at <= now
        ]


@given(
    times=st.dictionaries(st.integers(0, 12), st.floats(0, 60, width=16), max_size=13),
    looks=st.lists(st.floats(0, 80, width=16), min_size=1, max_size=8),
)
def test_every_process_says_the_same_whenever_it_began_to_look(times: dict[int, float], looks: list[float]) -> None:
    shipping = Shipping(times)
    followed, before = playlist(), b""
    for now in sorted(looks):
        followed.add(shipping.rows(now, followed.next_sequence), ended=False)
        text = followed.text().body
        assert text.startswith(before)
        before = text
        fresh = playlist()
        fresh.add(shipping.rows(now, 0), ended=False)
        assert fresh.text().body == text
