"""The life of streams over the database, in any order of anything: the machine of the unit tests, on the real parts."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from eventbus.outbox import Outbox
from events import EndReason
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from streaming import store
from streaming.channels.keys import digest
from streaming.ingest.commands import IngestCommand, IngestEvent, Session
from streaming.lifecycle.lifecycle import OpenStream, Verdict
from streaming.lifecycle.publishing import Publishing
from streaming.lifecycle.reaper import Reaper
from streaming.lifecycle.reconciler import Reconciler
from streaming.servers.media_server import MediaServers
from tests import engines
from tests.unit.streaming.ingest_machine import CHANNELS, IngestMachine
from tests.unit.streaming.ingest_world import Fate, World

T = TypeVar("T")
WALKS = 6
ACTS = 25
SEED = 20_260_101


class RealSystem:
    """Publishing, reaper and reconciler on Postgres. Time is made to pass by ageing what the database has."""

    def __init__(self, world: World, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._world = world
        self._pool = pool
        self._loop = loop
        self._channels = [uuid4() for _ in world.keys]
        for channel_id, key in zip(self._channels, world.keys, strict=True):
            self._run(
                pool.execute(
                    "INSERT INTO channels (channel_id, name, stream_key_hash) VALUES ($1, 'ada', $2)",
                    channel_id,
                    digest(key),
                )
            )
        self.restart()

    def restart(self) -> None:
        outbox, servers = Outbox(self._pool, source="streaming"), MediaServers(self._world.servers)
        self._publishing = Publishing(outbox, self._pool, servers, close_seconds_max=1, on_change=_nothing)
        self._reaper = Reaper(
            outbox, self._pool, grace_seconds=30, silence_seconds=20, on_change=_nothing, clock=self._clock
        )
        self._reconciler = Reconciler(
            outbox, self._pool, servers, absence_seconds=7, on_change=_nothing, clock=self._clock
        )

    def pass_time(self, seconds: float) -> None:
        self._run(
            self._pool.execute(
                "UPDATE open_streams SET started_at = started_at - d, session_started_at = session_started_at - d,"
                " seen_at = seen_at - d, interrupted_at = interrupted_at - d FROM make_interval(secs => $1) AS d",
                seconds,
            )
        )

    def open_stream(self, channel: int) -> OpenStream | None:
        stream_id = self._stream_id(channel)
        return self._run(self._read(stream_id)) if stream_id is not None else None

    def said(self, channel: int) -> list[tuple[str, UUID]]:
        rows = self._run(
            self._pool.fetch(
                "SELECT type, (convert_from(data, 'UTF8')::json ->> 'stream_id')::uuid AS stream_id FROM outbox"
                " WHERE key = $1 ORDER BY id",
                str(self._channels[channel]).encode(),
            )
        )
        return [(row["type"], row["stream_id"]) for row in rows]

    def publish(self, session: Session, key: str) -> Verdict:
        return self._handle(IngestCommand(IngestEvent.PUBLISH, session, key))

    def alive(self, session: Session, key: str, seconds: int) -> Verdict:
        return self._handle(IngestCommand(IngestEvent.ALIVE, session, key, seconds))

    def gone(self, session: Session, key: str) -> Verdict:
        return self._handle(IngestCommand(IngestEvent.DONE, session, key))

    def end(self, channel: int, reason: EndReason = EndReason.STREAMER) -> None:
        stream_id = self._stream_id(channel)
        if stream_id is not None:
            self._run(self._publishing.end(stream_id, reason))

    def kick(self, channel: int) -> None:
        self._run(
            store.queries.ban_channel(
                self._pool,
                channel_id=self._channels[channel],
                banned_by="streamer",
                seconds=None,
                reason=None,
                made_by=self._channels[channel],
            )
        )
        self.end(channel, EndReason.KICKED)

    def give_key(self, channel: int, key: str) -> None:
        channel_id = self._channels[channel]
        self._run(store.queries.set_stream_key(self._pool, channel_id=channel_id, key_hash=digest(key)))
        self._run(store.queries.lift_bans(self._pool, channel_id=channel_id, banned_by=["streamer"]))

    def reap(self) -> None:
        self._run(self._reaper.reap())

    def reconcile(self, server: str) -> None:
        self._run(self._reconciler.reconcile(server))

    def _clock(self) -> float:
        return self._world.now

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _handle(self, command: IngestCommand) -> Verdict:
        return self._run(self._publishing.handle(command)).verdict

    def _stream_id(self, channel: int) -> UUID | None:
        found: UUID | None = self._run(
            self._pool.fetchval("SELECT stream_id FROM open_streams WHERE channel_id = $1", self._channels[channel])
        )
        return found

    async def _read(self, stream_id: UUID) -> OpenStream | None:
        async with self._pool.acquire() as connection, connection.transaction():
            held = await store.lock_open_stream(connection, stream_id)
        return replace(held.stream) if held is not None else None


def _nothing() -> None:
    pass


class RealMachine(IngestMachine):
    """The machine over the real parts, which a dice drives: real time passes meanwhile, so no run is like another."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, dice: random.Random) -> None:
        self._pool = pool
        self._loop = loop
        self._dice = dice
        super().__init__()

    def new_world(self) -> World:
        world = World(CHANNELS, clock=time.monotonic)
        world.system = RealSystem(world, self._pool, self._loop)
        return world

    def anything(self) -> None:
        """One rule, whichever; those without a precondition may always be followed."""
        dice = self._dice
        channel, server, pick = dice.randrange(CHANNELS), dice.choice(["a", "b"]), dice.randrange(1_000)
        acts: list[Callable[[], None]] = [
            *[lambda: self.a_publisher_comes(channel=channel, server=server, fate=dice.choice(list(Fate)))] * 3,
            lambda: self.a_publisher_comes_with_the_first_key(channel=channel, server=server),
            lambda: self.a_stream_is_ended(channel=channel, kick=dice.random() < 0.5),
            lambda: self.a_channel_gets_another_key(channel=channel),
            lambda: self.a_media_server_restarts(server=server),
            lambda: self.a_media_server_goes_away_or_comes_back(server=server),
            self.streaming_restarts,
            lambda: self.time_passes_unseen(seconds=dice.choice([0.5, 3, 8, 25, 40])),
            *[lambda: self.time_passes(seconds=dice.choice([1, 4, 12, 25]))] * 2,
        ]
        if self.connections():
            fate = dice.choice([Fate.HEARD, Fate.LATE, Fate.LOST])
            acts += [lambda: self.a_publisher_leaves(pick=pick, fate=fate)] * 2
            acts += [lambda: self.a_publisher_is_asked_after(pick=pick, fate=fate)] * 2
        if self.world.in_flight:
            acts += [lambda: self.a_late_hook_arrives(pick=pick)] * 2
        if self.world.sent:
            acts += [lambda: self.a_hook_is_repeated(pick=pick)]
        dice.choice(acts)()
        self.what_was_said_is_in_order()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs only while something is asked of the system."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def pool(database: engines.Database, loop: asyncio.AbstractEventLoop) -> Iterator[Pool]:
    """Streaming's database."""
    opened = open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="streaming")
    yield loop.run_until_complete(opened.__aenter__())
    loop.run_until_complete(opened.__aexit__(None, None, None))


def test_anything_in_any_order_over_the_database(pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
    for walk in range(WALKS):
        seed = SEED + walk
        machine = RealMachine(pool, loop, random.Random(seed))
        try:
            for _ in range(ACTS):
                machine.anything()
            machine.teardown()
        except AssertionError as error:
            error.add_note(f"walk {walk} with the dice of seed {seed}")
            raise
        loop.run_until_complete(pool.execute("DELETE FROM open_streams; UPDATE channels SET stream_key_hash = NULL"))
