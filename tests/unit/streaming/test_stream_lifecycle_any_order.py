"""The pure parts of a stream's life, in any order of anything: what was said is right, the truth found in time."""

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from events import EndReason
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import (
    Absent,
    Alive,
    EndRequest,
    Gone,
    Input,
    OpenStream,
    Present,
    Publish,
    Step,
    Tick,
    Verdict,
    step,
)
from streaming.lifecycle.looks import Listened, Looks
from streaming.servers.media_server import is_connection_of
from tests.unit.streaming.ingest_machine import CHANNELS, IngestMachine, servers
from tests.unit.streaming.ingest_world import World

T = TypeVar("T")
START = datetime(2026, 3, 1, tzinfo=UTC)
GRACE, SILENCE, NEVER = timedelta(seconds=30), timedelta(seconds=20), timedelta(days=1)
ABSENCE_SECONDS = 7.0


@dataclass
class Channel:
    """What is kept of a channel."""

    key: str
    banned: bool = False
    stream: OpenStream | None = None
    shown_key: str | None = None
    said: list[tuple[str, UUID]] = field(default_factory=list)


class PureSystem:
    """The state machine and the comparison, with everything around them kept in memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._channels = [Channel(key) for key in world.keys]
        self._now = START
        self.restart()

    def restart(self) -> None:
        self._looks = {name: Looks(ABSENCE_SECONDS) for name in self._world.servers}
        self._listening_since = self._last_pass = self._now

    def pass_time(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def open_stream(self, channel: int) -> OpenStream | None:
        return self._channels[channel].stream

    def said(self, channel: int) -> list[tuple[str, UUID]]:
        return self._channels[channel].said

    def publish(self, session: Session, key: str) -> Verdict:
        channel = next((one for one in self._channels if one.key == key and not one.banned), None)
        if channel is None:
            return Verdict.REFUSED
        outcome = self._hear(channel, Publish(session, uuid4()))
        channel.shown_key = key
        if outcome.replaced is not None and outcome.replaced_started_at is not None:
            self._drop(outcome.replaced, (self._now - outcome.replaced_started_at).total_seconds())
        return outcome.verdict

    def alive(self, session: Session, key: str, seconds: int) -> Verdict:
        channel = self._of_shown_key(key)
        if channel is None or channel.banned:
            return Verdict.REFUSED
        return self._hear(channel, Alive(session, seconds)).verdict

    def gone(self, session: Session, key: str) -> Verdict:
        channel = self._of_shown_key(key)
        return self._hear(channel, Gone(session)).verdict if channel is not None else Verdict.IGNORED

    def end(self, channel: int, reason: EndReason = EndReason.STREAMER) -> None:
        stream = self._channels[channel].stream
        if stream is not None:
            self._hear(self._channels[channel], EndRequest(reason))
            self._drop(stream.session, (self._now - stream.session_started_at).total_seconds())

    def kick(self, channel: int) -> None:
        self._channels[channel].banned = True
        self.end(channel, EndReason.KICKED)

    def give_key(self, channel: int, key: str) -> None:
        self._channels[channel].key, self._channels[channel].banned = key, False

    def reap(self) -> None:
        if self._now - self._last_pass > timedelta(seconds=5):
            self._listening_since = self._now
        self._last_pass = self._now
        listened = self._now - self._listening_since
        tick = Tick(GRACE if listened >= GRACE else NEVER, SILENCE if listened >= SILENCE else NEVER)
        for channel in self._channels:
            self._hear(channel, tick)

    def reconcile(self, server: str) -> None:
        for _ in self.reconcile_bit_by_bit(server):
            pass

    def reconcile_bit_by_bit(self, name: str) -> Iterator[None]:
        """One look, with pauses in which anything may happen."""
        looks, asked_at = self._looks[name], self._now
        try:
            publishers = _finish(self._world.servers[name].publishers())
        except MediaServerUnavailable:
            looks.forget()
            return
        yield
        findings = looks.compare(
            publishers, self._sessions(name), asked_at=asked_at, now=(asked_at - START).total_seconds()
        )
        for stranger in findings.strangers:
            looks.spare(stranger.client)
            self._drop(Session(name, stranger.client), stranger.publishing_seconds or 0)
        yield
        unheard = timedelta(seconds=ABSENCE_SECONDS)
        for one in findings.present:
            self._hear_of(one, Present(one.session, asked_at))
        for one in findings.absent:
            self._hear_of(one, Absent(one.session, asked_at, unheard))

    def _sessions(self, name: str) -> list[Listened]:
        streams = [channel.stream for channel in self._channels if channel.stream is not None]
        return [
            Listened(one.stream_id, one.session, one.session_started_at, one.seen_at, one.status)
            for one in streams
            if one.session.server == name
        ]

    def _hear_of(self, listened: Listened, happened: Input) -> None:
        for channel in self._channels:
            if channel.stream is not None and channel.stream.stream_id == listened.stream_id:
                self._hear(channel, happened)

    def _hear(self, channel: Channel, happened: Input) -> Step:
        before, outcome = channel.stream, step(channel.stream, happened, self._now)
        if outcome.started and outcome.stream is not None:
            channel.said.append(("stream.started", outcome.stream.stream_id))
        if outcome.ended is not None and before is not None:
            channel.said.append(("stream.ended", before.stream_id))
        channel.stream = outcome.stream
        return outcome

    def _of_shown_key(self, key: str) -> Channel | None:
        return next((one for one in self._channels if one.stream is not None and one.shown_key == key), None)

    def _drop(self, session: Session, accepted_seconds_ago: float) -> None:
        server = self._world.servers[session.server]
        try:
            for publisher in _finish(server.publishers()):
                if is_connection_of(publisher, session, accepted_seconds_ago=accepted_seconds_ago):
                    _finish(server.drop(session))
        except MediaServerUnavailable:
            return


def _finish(coroutine: Coroutine[None, None, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    raise AssertionError("it waited")


class PureMachine(IngestMachine):
    """Anything in any order, over the pure parts; a look at a media server may take its time."""

    looking: Iterator[None] | None = None

    def new_world(self) -> World:
        world = World(CHANNELS)
        world.system = self.system = PureSystem(world)
        return world

    @rule(server=servers)
    def a_slow_look_begins(self, server: str) -> None:
        self.looking = self.system.reconcile_bit_by_bit(server)
        next(self.looking, None)

    @rule()
    def a_slow_look_goes_on(self) -> None:
        if self.looking is not None:
            next(self.looking, None)


def test_anything_in_any_order() -> None:
    chosen = settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(PureMachine, settings=chosen)
