"""A cheap look at MPEG-TS: it says the same as ffprobe, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.media.transport_stream import TransportFacts, read_transport_stream
from tests.integration.archive.clips import make_clip, make_sound, pictures_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """4 s of 240p with 15 pictures a second."""
    clip = make_clip(tmp_path_factory.mktemp("clip") / "small", seconds=4, size="320x240", rate=15)
    return b"".join(clip.segments)


def test_it_counts_what_ffprobe_counts(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "whole.ts").write_bytes(whole)
    times = pictures_of(tmp_path / "whole.ts").times
    facts = read_transport_stream(whole)
    assert facts is not None
    assert facts.pictures == len(times) == 60
    assert facts.picture_ms == (max(times) - min(times)) // 90
    assert facts.sounds > 0


def test_sound_beside_a_picture_that_is_declared_and_not_there(tmp_path: Path) -> None:
    facts = read_transport_stream(make_sound(tmp_path / "sound"))
    assert facts is not None
    assert facts.pictures == 0
    assert facts.sounds > 0


def test_times_that_wrap_around_are_no_jump(tmp_path: Path) -> None:
    # 2^33 ticks are 95,443.7 s; the file begins a second before.
    clip = make_clip(tmp_path / "late", seconds=4, size="320x240", rate=15, start=95_442.3)
    facts = read_transport_stream(b"".join(clip.segments))
    assert facts is not None
    assert facts.picture_ms < 5_000


@pytest.mark.parametrize("body", [b"", b"#EXTM3U\n", bytes(188), b"G" + bytes(187), b"FLV" + bytes(373)])
def test_what_is_none_tells_nothing(body: bytes) -> None:
    assert read_transport_stream(body) is None


@given(st.data())
def test_damage_never_breaks_it(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole[: 188 * 60])
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=40)):
        if at % 188:
            damaged[at] = data.draw(st.integers(0, 255))
    facts = read_transport_stream(bytes(damaged))
    assert facts is None or isinstance(facts, TransportFacts)
