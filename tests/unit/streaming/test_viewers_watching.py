"""When a heartbeat counts, and what a cookie is good for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from streaming.settings import StreamingSettings
from streaming.viewers.part import viewer_cookies
from streaming.viewers.watching import (
    BEGINNING_MAX,
    COOKIE_CHARACTERS,
    INTERVAL,
    LIFETIME,
    Beat,
    ViewerCookies,
    Watching,
    beat,
)

NOW = 1_700_000_000.0
STEP = INTERVAL.total_seconds()
COOKIES = ViewerCookies(b"a secret of the tests")
STREAM = uuid4()


def watched(*positions: float, every: float = STEP) -> list[Beat]:
    """The outcomes for a player that is at these positions, one heartbeat after the other."""
    said: list[Beat] = []
    for number, position in enumerate(positions):
        said.append(beat(said[-1].watching if said else None, position, NOW + number * every))
    return said


def test_a_player_counts_from_its_second_heartbeat_and_is_new_once() -> None:
    said = watched(100, 120, 140, 160)
    assert [one.counts for one in said] == [False, True, True, True]
    assert [one.is_new for one in said] == [False, True, False, False]
    assert len({one.watching.viewer_id for one in said}) == 1


@pytest.mark.parametrize(
    ("what", "positions", "every", "counted"),
    [
        ("paused", [100, 100, 100, 100], STEP, 0),
        ("paused and gone on", [100, 120, 120, 140], STEP, 2),
        ("moved by less than a picture", [100, 100.2, 100.4], STEP, 0),
        ("rewound", [100, 40, 60], STEP, 2),
        ("too fast", [100, 101, 102, 103, 104], 2.0, 0),
        ("too fast until time has passed since one that counted", [0, 6, 12, 18, 24], 6.0, 2),
        ("just in time", [0, 10, 20], 10.0, 2),
        ("once a minute", [0, 60, 120], 60.0, 2),
        ("beyond the longest timeline", [1e300, 1e300], STEP, 0),
    ],
)
def test_only_a_player_that_plays_counts(what: str, positions: list[float], every: float, counted: int) -> None:
    assert sum(one.counts for one in watched(*positions, every=every)) == counted, what


def test_who_has_not_counted_in_the_beginning_begins_again() -> None:
    first = beat(None, 0, NOW).watching
    late = beat(first, 50, NOW + BEGINNING_MAX.total_seconds() + 1)
    assert not late.counts
    assert late.watching.viewer_id != first.viewer_id


def test_a_cookie_of_the_beginning_is_somebody_new_only_in_the_beginning() -> None:
    kept = beat(None, 0, NOW).watching
    moments = range(10, 3_600, 10)
    new = [beat(kept, moment, NOW + moment) for moment in moments]
    assert {one.watching.viewer_id for one in new if one.is_new} == {kept.viewer_id}
    assert sum(one.is_new for one in new) == BEGINNING_MAX.total_seconds() // 10


@pytest.mark.parametrize("age", [-1.0, LIFETIME.total_seconds() + 1])
def test_a_cookie_from_the_future_or_too_old_begins_again(age: float) -> None:
    made = Watching(b"0123456789", int(NOW), int(NOW), 0, counted=True)
    said = beat(made, 100, NOW + age)
    assert not said.counts
    assert said.watching.viewer_id != made.viewer_id


@given(
    st.builds(
        Watching,
        st.binary(min_size=10, max_size=10),
        *[st.integers(min_value=0, max_value=2**32 - 1)] * 3,
        counted=st.booleans(),
    ),
    st.uuids(),
)
def test_a_cookie_says_what_was_written(watching: Watching, stream_id: UUID) -> None:
    cookie = COOKIES.write(stream_id, watching)
    assert len(cookie) == COOKIE_CHARACTERS
    assert COOKIES.read(stream_id, cookie) == watching


def _flipped(cookie: str) -> str:
    return ("A" if cookie[20] != "A" else "B").join((cookie[:20], cookie[21:]))


@pytest.mark.parametrize(
    "forge",
    [
        _flipped,
        str.lower,
        lambda cookie: cookie[:-4] + "AAAA",
        lambda cookie: cookie + "=",
        lambda _: "",
        lambda _: "é" * COOKIE_CHARACTERS,
        lambda _: "!" * COOKIE_CHARACTERS,
        lambda _: "A" * COOKIE_CHARACTERS,
    ],
)
def test_a_cookie_that_is_not_ours_says_nothing(forge: Callable[[str], str]) -> None:
    cookie = COOKIES.write(STREAM, Watching(b"0123456789", 1, 2, 3))
    assert COOKIES.read(STREAM, forge(cookie)) is None


def test_a_cookie_is_of_its_stream_and_of_its_secret_alone() -> None:
    cookie = COOKIES.write(STREAM, Watching(b"0123456789", 1, 2, 3))
    assert COOKIES.read(uuid4(), cookie) is None
    assert ViewerCookies(b"another secret of the tests").read(STREAM, cookie) is None
    assert COOKIES.read(STREAM, None) is None


def told(secrets: dict[str, str]) -> ViewerCookies:
    """Cookies of a process with these secrets."""
    given: dict[str, Any] = {f"streaming_{name}": SecretStr(one) for name, one in secrets.items()}
    return viewer_cookies(StreamingSettings.model_construct(**given))


@pytest.mark.parametrize(
    ("before", "after", "known"),
    [
        ({"ingest_secret": "i", "viewer_secret": "v"}, {"ingest_secret": "other", "viewer_secret": "v"}, True),
        ({"ingest_secret": "i", "viewer_secret": "v"}, {"ingest_secret": "i", "viewer_secret": "other"}, False),
        (
            {"ingest_secret": "i", "viewer_secret": "v"},
            {"ingest_secret": "i", "viewer_secret": "other", "viewer_secret_second": "v"},
            True,
        ),
        # a server that has not had a secret of viewers gets one
        ({"ingest_secret": "i"}, {"ingest_secret": "i"}, True),
        ({"ingest_secret": "i"}, {"ingest_secret": "i", "viewer_secret": "v", "viewer_secret_second": "i"}, True),
        ({"ingest_secret": "i"}, {"ingest_secret": "i", "viewer_secret": "v"}, False),
    ],
)
def test_viewers_stay_who_they_are_while_secrets_are_replaced(
    before: dict[str, str], after: dict[str, str], known: bool
) -> None:
    watching = Watching(b"0123456789", 1, 2, 3)
    assert (told(after).read(STREAM, told(before).write(STREAM, watching)) == watching) is known


def test_an_address_has_another_name_for_every_stream() -> None:
    assert COOKIES.address(STREAM, "192.0.2.1") == COOKIES.address(STREAM, "192.0.2.1")
    names = {COOKIES.address(stream, address) for stream in (STREAM, uuid4()) for address in ("192.0.2.1", "192.0.2.2")}
    assert len(names) == 4
    assert not any("192" in name and "0.2.1" in name for name in names)


def test_a_viewer_keeps_its_id_while_it_counts() -> None:
    made = Watching(b"0123456789", int(NOW), int(NOW), 0)
    assert beat(made, 20, NOW + STEP).watching == replace(
        made, beat_at=int(NOW + STEP), position_ms=20_000, counted=True
    )
