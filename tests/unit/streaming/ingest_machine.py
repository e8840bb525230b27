"""Anything that can happen between encoders, media servers and streaming, in any order, as a hypothesis machine."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.streaming.ingest_world import Connection, Fate, Server, World

CHANNELS = 2
channels = st.integers(0, CHANNELS - 1)
servers = st.sampled_from(["a", "b"])
fates = st.sampled_from([Fate.HEARD, Fate.HEARD, Fate.LATE, Fate.LOST])
publish_fates = st.sampled_from([Fate.HEARD, Fate.HEARD, Fate.HEARD, Fate.LATE, Fate.LOST, Fate.UNANSWERED])
picks = st.integers(0, 1_000)


class IngestMachine(RuleBasedStateMachine):
    """Rules over a world; `new_world` says what is under test."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.new_world()

    def new_world(self) -> World:
        """A world with `CHANNELS` channels, and the system under test in it."""
        raise NotImplementedError

    def server(self, name: str) -> Server:
        return self.world.servers[name]

    @rule(channel=channels, server=servers, fate=publish_fates)
    def a_publisher_comes(self, channel: int, server: str, fate: Fate) -> None:
        self.world.publish(channel, self.server(server), self.world.keys[channel], fate)

    @rule(channel=channels, server=servers)
    def a_publisher_comes_with_the_first_key(self, channel: int, server: str) -> None:
        self.world.publish(channel, self.server(server), f"key-{channel}-0", Fate.HEARD)

    @precondition(lambda self: self.connections())
    @rule(pick=picks, fate=fates)
    def a_publisher_leaves(self, pick: int, fate: Fate) -> None:
        connections = self.connections()
        self.world.leave(connections[pick % len(connections)], fate)

    @precondition(lambda self: self.connections())
    @rule(pick=picks, fate=fates)
    def a_publisher_is_asked_after(self, pick: int, fate: Fate) -> None:
        connections = self.connections()
        self.world.update(connections[pick % len(connections)], fate)

    @precondition(lambda self: self.world.in_flight)
    @rule(pick=picks)
    def a_late_hook_arrives(self, pick: int) -> None:
        hooks = self.world.in_flight
        self.world.deliver(hooks.pop(pick % len(hooks)))

    @precondition(lambda self: self.world.sent)
    @rule(pick=picks)
    def a_hook_is_repeated(self, pick: int) -> None:
        self.world.deliver(self.world.sent[pick % len(self.world.sent)])

    @rule(channel=channels, kick=st.booleans())
    def a_stream_is_ended(self, channel: int, kick: bool) -> None:
        self.world.end(channel, kick=kick)

    @rule(channel=channels)
    def a_channel_gets_another_key(self, channel: int) -> None:
        self.world.give_key(channel)

    @rule(server=servers)
    def a_media_server_restarts(self, server: str) -> None:
        self.server(server).restart()

    @rule(server=servers)
    def a_media_server_goes_away_or_comes_back(self, server: str) -> None:
        self.server(server).answers = not self.server(server).answers

    @rule()
    def streaming_restarts(self) -> None:
        self.world.system.restart()

    @rule(seconds=st.sampled_from([0.5, 3, 8, 25, 40]))
    def time_passes_unseen(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([1, 4, 12, 25, 35]))
    def time_passes(self, seconds: int) -> None:
        self.world.watch(seconds)

    @rule()
    def the_truth_is_found(self) -> None:
        self.world.check_the_truth()

    @invariant()
    def what_was_said_is_in_order(self) -> None:
        self.world.check_what_was_said()

    def teardown(self) -> None:
        self.world.check_the_truth()
        self.world.check_the_truth_stays()
        self.world.check_what_was_said()

    def connections(self) -> list[Connection]:
        return [connection for server in self.world.servers.values() for connection in server.connections]
