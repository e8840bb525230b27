"""The life of a stream, in any order of events: one stream per chain of publishes, one beginning, at most one end."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import EndReason
from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import (
    Alive,
    EndRequest,
    Gone,
    Input,
    OpenStream,
    Publish,
    Status,
    Step,
    Tick,
    Verdict,
    step,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
GRACE = timedelta(seconds=30)
SILENCE = timedelta(seconds=20)
FIRST, SECOND = Session("a", "1"), Session("a", "2")
TICK = Tick(GRACE, SILENCE)


@dataclass
class Channel:
    """A channel that keeps what its state machine says."""

    stream: OpenStream | None = None
    now: datetime = START
    started: list[UUID] = field(default_factory=list)
    ended: list[tuple[UUID, EndReason]] = field(default_factory=list)

    def hear(self, happened: Input, *, after: float = 0) -> Step:
        self.now += timedelta(seconds=after)
        before = self.stream
        outcome = step(before, happened, self.now)
        if outcome.started:
            assert outcome.stream is not None
            self.started.append(outcome.stream.stream_id)
        if outcome.ended is not None:
            assert before is not None
            self.ended.append((before.stream_id, outcome.ended))
        self.stream = outcome.stream
        return outcome

    def publish(self, session: Session = FIRST, *, after: float = 0) -> Step:
        return self.hear(Publish(session, uuid4()), after=after)

    @property
    def open(self) -> OpenStream:
        assert self.stream is not None
        return self.stream

    def status(self) -> Status:
        return self.open.status


def live() -> Channel:
    channel = Channel()
    channel.publish()
    return channel


def test_a_publish_begins_a_stream() -> None:
    outcome = Channel().publish()
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.started
    assert outcome.stream is not None
    assert outcome.stream.status is Status.LIVE


def test_back_within_grace_is_the_same_stream() -> None:
    channel = live()
    stream_id = channel.open.stream_id
    channel.hear(Gone(FIRST), after=60)
    assert channel.status() is Status.INTERRUPTED
    channel.hear(TICK, after=29)
    outcome = channel.publish(SECOND, after=0.5)
    assert (outcome.verdict, outcome.started, outcome.replaced) == (Verdict.ACCEPTED, False, None)
    assert channel.open.stream_id == stream_id
    assert channel.status() is Status.LIVE
    assert len(channel.started) == 1


def test_grace_over_ends_the_stream_and_the_next_publish_begins_another() -> None:
    channel = live()
    channel.hear(Gone(FIRST), after=60)
    channel.hear(TICK, after=30)
    assert [reason for _, reason in channel.ended] == [EndReason.GRACE_OVER]
    channel.publish(SECOND, after=1)
    assert len(set(channel.started)) == 2


def test_a_second_publisher_takes_over() -> None:
    channel = live()
    outcome = channel.publish(SECOND, after=5)
    assert outcome.replaced == FIRST
    assert channel.open.session == SECOND
    assert len(channel.started) == 1


def test_the_old_publishers_late_messages_change_nothing() -> None:
    channel = live()
    channel.publish(SECOND, after=5)
    before = channel.open
    assert channel.hear(Gone(FIRST)).verdict is Verdict.IGNORED
    assert channel.open == before
    assert channel.hear(Alive(FIRST, 10)).verdict is Verdict.REFUSED
    assert channel.open == before


def test_a_publish_said_twice_drops_nobody() -> None:
    channel = live()
    outcome = channel.publish(FIRST, after=0.01)
    assert (outcome.verdict, outcome.started, outcome.replaced) == (Verdict.ACCEPTED, False, None)


def test_gone_said_twice_does_not_lengthen_the_grace() -> None:
    channel = live()
    channel.hear(Gone(FIRST), after=10)
    interrupted_at = channel.open.interrupted_at
    channel.hear(Gone(FIRST), after=10)
    assert channel.open.interrupted_at == interrupted_at


def test_silence_interrupts_and_a_sign_of_life_resumes() -> None:
    channel = live()
    channel.hear(Alive(FIRST, 5), after=5)
    channel.hear(TICK, after=19)
    assert channel.status() is Status.LIVE
    channel.hear(TICK, after=1)
    assert channel.status() is Status.INTERRUPTED
    channel.hear(Alive(FIRST, 27), after=2)
    assert channel.status() is Status.LIVE


def test_silence_and_then_grace_end_the_stream_as_silent() -> None:
    channel = live()
    channel.hear(TICK, after=20)
    channel.hear(TICK, after=30)
    assert [reason for _, reason in channel.ended] == [EndReason.SILENT]


def test_a_silent_publisher_is_dropped_when_another_comes() -> None:
    channel = live()
    channel.hear(TICK, after=20)
    assert channel.publish(SECOND, after=1).replaced == FIRST


def test_a_late_sign_of_life_of_a_publisher_that_left_does_not_resume() -> None:
    channel = live()
    channel.hear(Gone(FIRST), after=60)
    assert channel.hear(Alive(FIRST, 60), after=1).verdict is Verdict.IGNORED
    assert channel.status() is Status.INTERRUPTED


def test_a_stale_end_of_a_reused_client_number_is_corrected_by_the_next_sign_of_life() -> None:
    channel = live()
    channel.publish(FIRST, after=100)  # the media server restarted and counts from one again
    channel.hear(Gone(FIRST), after=1)  # of the first of the two
    assert channel.status() is Status.INTERRUPTED
    assert channel.hear(Alive(FIRST, 5), after=4).verdict is Verdict.ACCEPTED
    assert channel.status() is Status.LIVE


@pytest.mark.parametrize("happened", [Alive(FIRST, 5), Gone(FIRST), EndRequest(), TICK])
def test_nothing_happens_to_a_stream_that_is_over(happened: Input) -> None:
    channel = live()
    channel.hear(EndRequest(), after=10)
    outcome = channel.hear(happened, after=100)
    assert outcome.verdict is (Verdict.REFUSED if isinstance(happened, Alive) else Verdict.IGNORED)
    assert channel.stream is None
    assert len(channel.ended) == 1


def test_an_end_request_ends_an_interrupted_stream_too() -> None:
    channel = live()
    channel.hear(Gone(FIRST), after=10)
    channel.hear(EndRequest(), after=1)
    assert [reason for _, reason in channel.ended] == [EndReason.STREAMER]


sessions = st.sampled_from([FIRST, SECOND, Session("b", "1")])
inputs = st.one_of(
    st.builds(Publish, sessions, st.uuids(version=4)),
    st.builds(Alive, sessions, st.integers(0, 200)),
    st.builds(Gone, sessions),
    st.just(EndRequest()),
    st.just(TICK),
)


@settings(max_examples=500)
@given(st.lists(st.tuples(inputs, st.floats(0, 40)), max_size=60))
def test_any_interleaving_of_anything(history: list[tuple[Input, float]]) -> None:
    channel = Channel()
    for happened, after in history:
        before, ends = channel.stream, len(channel.ended)
        outcome = channel.hear(happened, after=after)
        # one stream at a time; it begins by a publish alone, with its beginning said, and keeps its id to its end
        if channel.stream is not None:
            assert outcome.started == (before is None)
            assert before is None or before.stream_id == channel.stream.stream_id
            assert before is None or before.started_at == channel.stream.started_at
            assert (channel.stream.status is Status.INTERRUPTED) == (channel.stream.interrupted_at is not None)
        if outcome.started:
            assert isinstance(happened, Publish)
        # it is gone exactly if its end was said
        assert (before is not None and channel.stream is None) == (len(channel.ended) > ends)
        # a publisher that was not let in changes nothing
        if outcome.verdict is not Verdict.ACCEPTED:
            assert channel.stream == before
        # whoever is dropped is not whom we listen to
        assert outcome.replaced is None or outcome.replaced != channel.open.session
    ended = [stream_id for stream_id, _ in channel.ended]
    assert len(set(ended)) == len(ended)
    assert len(set(channel.started)) == len(channel.started)
    still_open = [] if channel.stream is None else [channel.stream.stream_id]
    assert channel.started == [*ended, *still_open]


@given(st.lists(inputs, max_size=20), inputs)
def test_said_twice_at_once_is_said_once(history: list[Input], last: Input) -> None:
    channel = Channel()
    for happened in history:
        channel.hear(happened, after=7)
    channel.hear(last, after=7)
    stream, started, ended = channel.stream, len(channel.started), len(channel.ended)
    outcome = channel.hear(last)
    assert (channel.stream, len(channel.started), len(channel.ended)) == (stream, started, ended)
    assert outcome.replaced is None
