"""The life of a stream as a pure state machine: what was, what happened, when; what is now, and what to say.

::

    (none) --publish--> live --publisher gone, absent or silent--> interrupted --grace over--> ended
                          ^------- publish, alive or present again -----'
                          '-------------------- end requested (from both) --------------------> ended

An ended stream takes no input: the next publish begins another one. Times are the database's, so that several
processes agree. Nothing in here waits, reads a clock or touches a table.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from events import EndReason
from streaming.ingest.commands import Session

# nginx-rtmp counts publishing time in whole seconds of its own cached clock.
SESSION_CLOCK_TOLERANCE: Final = timedelta(seconds=2)


class Status(StrEnum):
    """Where a stream stands."""

    LIVE = "live"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


class Verdict(StrEnum):
    """What the asker is told."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that is not over, with the publisher that it listens to."""

    stream_id: UUID
    status: Status
    session: Session
    started_at: datetime
    session_started_at: datetime
    """When the session's latest publish was accepted."""
    seen_at: datetime
    """When the session was last heard of."""
    interrupted_at: datetime | None = None
    silent: bool = False
    """Interrupted because nothing was heard, rather than because the publisher was seen leaving."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A publisher with the channel's key asks to send; `stream_id` is the id of the stream that this may begin."""

    session: Session
    stream_id: UUID


@dataclass(frozen=True, slots=True)
class Alive:
    """A session is still publishing, for `publishing_seconds` by the media server's clock."""

    session: Session
    publishing_seconds: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A session has stopped publishing."""

    session: Session
    happened_at: datetime | None = None
    """When, if the media server says so; by its clock."""


@dataclass(frozen=True, slots=True)
class Present:
    """A media server that was asked at `asked_at`, by the database's clock, has the session among its publishers."""

    session: Session
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Absent:
    """A media server has been without the session in every answer for a while; the latest was asked for at `asked_at`.

    Whoever was heard of within `unheard` before that is believed to be there: a publish whose answer is on its way, or
    a connection that an older process of the media server still carries.
    """

    session: Session
    asked_at: datetime
    unheard: timedelta


@dataclass(frozen=True, slots=True)
class EndRequest:
    """Somebody who may ends the stream, whoever publishes."""

    reason: EndReason = EndReason.STREAMER


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: a stream ends `grace` after its interruption, is interrupted `silence` after its last sign."""

    grace: timedelta
    silence: timedelta


Input = Publish | Alive | Gone | Present | Absent | EndRequest | Tick


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one input."""

    verdict: Verdict
    stream: OpenStream | None
    """The open stream from now on; None when there is none (any more)."""
    started: bool = False
    """`stream` begins here."""
    ended: EndReason | None = None
    """The stream that was is over."""
    replaced: Session | None = None
    """A publisher that must be dropped because another has taken its place."""
    replaced_started_at: datetime | None = None
    """When that publisher's latest publish was accepted."""


def step(stream: OpenStream | None, happened: Input, now: datetime) -> Step:
    """The outcome of `happened` at `now` for a channel whose open stream is `stream` (None: it has none)."""
    if isinstance(happened, Publish):
        return _published(stream, happened, now)
    if isinstance(happened, Alive):
        return _alive(stream, happened, now)
    if stream is None:
        return Step(Verdict.IGNORED, None)
    if isinstance(happened, Gone):
        return _gone(stream, happened, now)
    if isinstance(happened, Present):
        return _present(stream, happened)
    if isinstance(happened, Absent):
        return _absent(stream, happened, now)
    if isinstance(happened, EndRequest):
        return Step(Verdict.ACCEPTED, None, ended=happened.reason)
    return _ticked(stream, happened, now)


def _published(stream: OpenStream | None, happened: Publish, now: datetime) -> Step:
    if stream is None:
        begun = OpenStream(happened.stream_id, Status.LIVE, happened.session, now, session_started_at=now, seen_at=now)
        return Step(Verdict.ACCEPTED, begun, started=True)
    resumed = replace(
        stream,
        status=Status.LIVE,
        session=happened.session,
        session_started_at=now,
        seen_at=now,
        interrupted_at=None,
        silent=False,
    )
    # A session that was only silent may still hold its connection, so it is dropped as well as one that is live.
    may_hold_on = stream.status is Status.LIVE or stream.silent
    if not may_hold_on or stream.session == happened.session:
        return Step(Verdict.ACCEPTED, resumed)
    return Step(Verdict.ACCEPTED, resumed, replaced=stream.session, replaced_started_at=stream.session_started_at)


def _alive(stream: OpenStream | None, happened: Alive, now: datetime) -> Step:
    if stream is None or stream.session != happened.session:
        return Step(Verdict.REFUSED, stream)
    if stream.interrupted_at is not None and not _sent_after_interruption(stream, stream.interrupted_at, happened):
        return Step(Verdict.IGNORED, stream)
    return Step(Verdict.ACCEPTED, replace(stream, status=Status.LIVE, seen_at=now, interrupted_at=None, silent=False))


def _sent_after_interruption(stream: OpenStream, interrupted_at: datetime, happened: Alive) -> bool:
    """Whether an interrupted session still publishes, rather than a late message of it arriving."""
    if stream.silent:
        return True
    sent_at = stream.session_started_at + timedelta(seconds=happened.publishing_seconds)
    return sent_at > interrupted_at + SESSION_CLOCK_TOLERANCE


def _gone(stream: OpenStream, happened: Gone, now: datetime) -> Step:
    if stream.session != happened.session:
        return Step(Verdict.IGNORED, stream)
    # Where a session is named by its stream, an old connection's end has the name of the new one. If the clocks differ
    # by so much that this is wrong, asking the media server puts it right.
    if happened.happened_at is not None and happened.happened_at < stream.session_started_at:
        return Step(Verdict.IGNORED, stream)
    if stream.status is Status.INTERRUPTED and not stream.silent:
        return Step(Verdict.IGNORED, stream)
    interrupted_at = stream.interrupted_at or now
    return Step(
        Verdict.ACCEPTED, replace(stream, status=Status.INTERRUPTED, interrupted_at=interrupted_at, silent=False)
    )


def _present(stream: OpenStream, happened: Present) -> Step:
    """Heard of at the time of the question. A publisher that was seen leaving is back only if there well after."""
    if stream.session != happened.session or happened.asked_at <= stream.session_started_at:
        return Step(Verdict.IGNORED, stream)
    if stream.interrupted_at is not None:
        margin = timedelta(0) if stream.silent else SESSION_CLOCK_TOLERANCE
        if happened.asked_at <= stream.interrupted_at + margin:
            return Step(Verdict.IGNORED, stream)
    seen_at = max(stream.seen_at, happened.asked_at)
    return Step(
        Verdict.ACCEPTED, replace(stream, status=Status.LIVE, seen_at=seen_at, interrupted_at=None, silent=False)
    )


def _absent(stream: OpenStream, happened: Absent, now: datetime) -> Step:
    if happened.asked_at - stream.seen_at < happened.unheard:
        return Step(Verdict.IGNORED, stream)
    return _gone(stream, Gone(happened.session), now)


def _ticked(stream: OpenStream, happened: Tick, now: datetime) -> Step:
    if stream.interrupted_at is not None:
        if now - stream.interrupted_at >= happened.grace:
            return Step(Verdict.ACCEPTED, None, ended=EndReason.SILENT if stream.silent else EndReason.GRACE_OVER)
        return Step(Verdict.IGNORED, stream)
    if now - stream.seen_at >= happened.silence:
        return Step(Verdict.ACCEPTED, replace(stream, status=Status.INTERRUPTED, interrupted_at=now, silent=True))
    return Step(Verdict.IGNORED, stream)
