"""A small world of encoders and two media servers, in which hooks get lost, late or doubled and machines restart.

It knows who really publishes, so that it can say what a system under test should have come to believe.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import IngestEvent, Session
from streaming.lifecycle.lifecycle import OpenStream, Status, Verdict
from streaming.servers.media_server import Publisher

UPDATE_SECONDS = 5
LOOK_SECONDS = 2
TRUTH_SECONDS_MAX = 15
STAYS_SECONDS = 22
STALL_SECONDS_MAX = 3  # by the clock, while time is made to pass
RESTART_SECONDS = 1.5  # no encoder is back sooner; ages are told apart from one second on


class Fate(Enum):
    """What becomes of a hook."""

    HEARD = auto()
    LOST = auto()
    LATE = auto()
    UNANSWERED = auto()
    """It is heard, but its answer does not arrive."""


@dataclass(eq=False)
class Connection:
    """One publisher's connection, itself: two of them may have the same number."""

    session: Session
    channel: int
    key: str
    made_at: float


@dataclass(frozen=True)
class Hook:
    """One thing that a media server says."""

    event: IngestEvent
    connection: Connection
    seconds: int = 0


@dataclass(eq=False)
class Server:
    """A media server. Its numbers begin again when it restarts; `updates`: it asks whether publishers may go on."""

    name: str
    world: "World"
    updates: bool
    answers: bool = True
    numbers: int = 0
    connections: list[Connection] = field(default_factory=list)

    def number(self) -> str:
        self.numbers += 1
        return str(self.numbers)

    def restart(self) -> None:
        self.numbers = 0
        self.connections.clear()
        self.world.forget_questions(self.name)
        self.world.pass_time(RESTART_SECONDS)

    async def publishers(self) -> list[Publisher]:
        if not self.answers:
            raise MediaServerUnavailable("publishers", "away")
        now = self.world.now
        return [Publisher(one.session.client, now - one.made_at) for one in self.connections]

    async def drop(self, session: Session) -> bool:
        if not self.answers:
            raise MediaServerUnavailable("drop", "away")
        found = [one for one in self.connections if one.session == session]
        for one in found:
            self.world.dropped(one)
        return bool(found)

    async def wait_closed(self, stream_id: UUID) -> bool:
        return self.answers


class System(Protocol):
    """What is under test."""

    def publish(self, session: Session, key: str) -> Verdict: ...
    def alive(self, session: Session, key: str, seconds: int) -> Verdict: ...
    def gone(self, session: Session, key: str) -> Verdict: ...
    def end(self, channel: int) -> None: ...
    def kick(self, channel: int) -> None: ...
    def give_key(self, channel: int, key: str) -> None: ...
    def reap(self) -> None: ...
    def reconcile(self, server: str) -> None: ...
    def restart(self) -> None: ...
    def pass_time(self, seconds: float) -> None: ...
    def open_stream(self, channel: int) -> OpenStream | None: ...
    def said(self, channel: int) -> list[tuple[str, UUID]]: ...


class World:
    """Encoders, media servers, and the hooks between these and the system."""

    def __init__(self, channels: int, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._passed = 0.0
        self._watched = 0
        self.servers = {name: Server(name, self, updates=name == "a") for name in ("a", "b")}
        self.keys = [f"key-{channel}-0" for channel in range(channels)]
        self.banned = [False] * channels
        self.listened_to: dict[int, Connection | None] = dict.fromkeys(range(channels))
        """Whose publish was accepted last."""
        self._dropped: list[Connection] = []
        self.in_flight: list[Hook] = []
        self.sent: list[Hook] = []
        self.system: System

    @property
    def now(self) -> float:
        """The world's time in seconds: what was made to pass, and what passes by `clock` on its own."""
        return self._passed + self._clock()

    # --- what encoders and media servers do ------------------------------------------------------------------------

    def publish(self, channel: int, server: Server, key: str, fate: Fate) -> None:
        connection = Connection(Session(server.name, server.number()), channel, key, self.now)
        hook = Hook(IngestEvent.PUBLISH, connection)
        if fate is Fate.LATE:
            self.in_flight.append(hook)
        elif fate is not Fate.LOST and self.deliver(hook) is Verdict.ACCEPTED and fate is Fate.HEARD:
            server.connections.append(connection)

    def leave(self, connection: Connection, fate: Fate) -> None:
        self.servers[connection.session.server].connections.remove(connection)
        self._send(Hook(IngestEvent.DONE, connection), fate)

    def update(self, connection: Connection, fate: Fate) -> None:
        hook = Hook(IngestEvent.ALIVE, connection, int(self.now - connection.made_at))
        if self._send(hook, fate) is Verdict.REFUSED:
            self.leave(connection, Fate.LATE)

    def dropped(self, connection: Connection) -> None:
        """The system has had a connection cut off."""
        self._dropped.append(connection)
        self.leave(connection, Fate.LATE)

    def _check_drops(self) -> None:
        """Nobody was cut off whom a stream listens to."""
        for connection in self._dropped:
            stream = self.system.open_stream(connection.channel)
            rightful = self.listened_to[connection.channel] is connection
            heard = stream is not None and stream.session == connection.session
            assert not (rightful and heard), f"an innocent publisher was dropped: {connection}"
        self._dropped.clear()

    def reconcile(self, name: str) -> None:
        self.system.reconcile(name)
        self._check_drops()

    def end(self, channel: int, *, kick: bool) -> None:
        self.listened_to[channel] = None
        if kick:
            self.banned[channel] = True
            self.system.kick(channel)
        else:
            self.system.end(channel)
        assert self.system.open_stream(channel) is None
        self._check_drops()

    def forget_questions(self, server: str) -> None:
        """A publish is a question on a connection of its own: it does not outlive the media server that asks."""

        def stays(hook: Hook) -> bool:
            return hook.event is not IngestEvent.PUBLISH or hook.connection.session.server != server

        self.in_flight = [hook for hook in self.in_flight if stays(hook)]
        self.sent = [hook for hook in self.sent if stays(hook)]

    def give_key(self, channel: int) -> None:
        self.keys[channel] = f"key-{channel}-{int(self.keys[channel].rpartition('-')[2]) + 1}"
        self.banned[channel] = False
        self.system.give_key(channel, self.keys[channel])

    # --- hooks -----------------------------------------------------------------------------------------------------

    def _send(self, hook: Hook, fate: Fate) -> Verdict | None:
        if fate is Fate.LATE:
            self.in_flight.append(hook)
        if fate in (Fate.LATE, Fate.LOST):
            return None
        verdict = self.deliver(hook)
        return verdict if fate is Fate.HEARD else None

    def deliver(self, hook: Hook) -> Verdict:
        """The system hears a hook; what it answers and what has changed is as it must be."""
        self.sent = [*self.sent[-20:], hook]
        connection = hook.connection
        before = [self.system.open_stream(channel) for channel in range(len(self.keys))]
        if hook.event is IngestEvent.PUBLISH:
            verdict = self._deliver_publish(connection)
        elif hook.event is IngestEvent.ALIVE:
            verdict = self.system.alive(connection.session, connection.key, hook.seconds)
        else:
            verdict = self.system.gone(connection.session, connection.key)
        for channel, was in enumerate(before):
            of_another = was is None or was.session != connection.session or channel != connection.channel
            if of_another and not (hook.event is IngestEvent.PUBLISH and channel == connection.channel):
                assert self.system.open_stream(channel) == was, "a foreign hook changed a stream"
        self._check_drops()
        return verdict

    def _deliver_publish(self, connection: Connection) -> Verdict:
        channel = connection.channel
        valid = connection.key == self.keys[channel] and not self.banned[channel]
        previous, self.listened_to[channel] = self.listened_to[channel], connection
        verdict = self.system.publish(connection.session, connection.key)
        if verdict is not Verdict.ACCEPTED:
            self.listened_to[channel] = previous
        assert (verdict is Verdict.ACCEPTED) == valid, "a streamer was locked out, or somebody let in"
        stream = self.system.open_stream(channel)
        if valid:
            assert stream is not None
            assert (stream.status, stream.session) == (Status.LIVE, connection.session)
        return verdict

    # --- time ------------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Time in which nobody does anything, the system included."""
        self._passed += seconds
        self.system.pass_time(seconds)

    def watch(self, seconds: int) -> None:
        """Time in which everybody does what is due."""
        for _ in range(seconds):
            self.pass_time(1)
            self.system.reap()
            self._watched += 1
            if self._watched % LOOK_SECONDS == 0:
                for name in self.servers:
                    self.reconcile(name)
            for server in self.servers.values():
                for connection in [*server.connections] if server.updates else []:
                    published = int(self.now - connection.made_at)
                    if published and published % UPDATE_SECONDS == 0 and connection in server.connections:
                        self.update(connection, Fate.HEARD)

    # --- what must hold --------------------------------------------------------------------------------------------

    def check_what_was_said(self) -> None:
        """Each stream began once and ended at most once, one after the other, and what is open is what began last."""
        for channel in range(len(self.keys)):
            said, stream = self.system.said(channel), self.system.open_stream(channel)
            kinds = [kind for kind, _ in said]
            assert kinds == ["stream.started", "stream.ended"] * (len(said) // 2) + ["stream.started"] * (len(said) % 2)
            assert all(started[1] == ended[1] for started, ended in zip(said[::2], said[1::2], strict=False))
            ids = [stream_id for _, stream_id in said[::2]]
            assert len(set(ids)) == len(ids)
            assert (stream.stream_id if stream is not None else None) == (ids[-1] if len(said) % 2 else None)

    def check_the_truth(self) -> None:
        """After a while in which everybody answers, each stream is what its publisher is. Hooks under way are lost."""
        self.in_flight.clear()
        for server in self.servers.values():
            server.answers = True
        began = self._clock()
        self.watch(TRUTH_SECONDS_MAX)
        if self._clock() - began > STALL_SECONDS_MAX:  # with looks far apart an absence is counted anew
            self.watch(TRUTH_SECONDS_MAX)
        self._check_who_is_live()

    def check_the_truth_stays(self) -> None:
        """From then on, for longer than silence is borne, nobody who is there is taken for gone, however briefly."""
        for _ in range(STAYS_SECONDS):
            self.watch(1)
            self._check_who_is_live()

    def _check_who_is_live(self) -> None:
        for channel in range(len(self.keys)):
            there = [
                one.session for server in self.servers.values() for one in server.connections if one.channel == channel
            ]
            stream = self.system.open_stream(channel)
            live = [stream.session] if stream is not None and stream.status is Status.LIVE else []
            assert there == live, f"channel {channel}: publishing {there}, believed {live}"
