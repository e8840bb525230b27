"""Somebody who follows rooms over a broker as a gateway does, and remembers whether a hole went unseen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

from pydantic import SecretStr
from redis.asyncio import Redis

from chat.brokers.broker import Broker, Conditions, Position
from chat.brokers.broker_redis import RedisBroker
from chat.errors import BrokerUnavailable
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

FREE = Conditions()
UNSURE = b"refused, and may have been said"


class Follower:
    """Follows one room: what does not continue the sequence is read, and what cannot be read is a gap."""

    GAP = b"<gap>"

    def __init__(self, broker: Broker, room: UUID) -> None:
        self.seen: list[bytes] = []
        self.position: Position | None = None
        self.disconnections = 0
        self.signals: list[bytes] = []
        self._broker = broker
        self._room = room
        self._read = asyncio.Event()
        self._asked = 0
        self.hears = False
        broker.listen(room, self)
        self._task = asyncio.create_task(self._catch_up())

    def published(self, position: Position, body: bytes) -> None:
        here = self.position
        if here is None or self._read.is_set() or position != Position(here.offset + 1, here.epoch):
            if here is None or position.epoch != here.epoch or position.offset > here.offset:
                self._ask()
            return
        self.position = position
        self.seen.append(body)

    def signalled(self, body: bytes) -> None:
        self.signals.append(body)

    def connected(self) -> None:
        self.hears = True
        self._ask()

    def disconnected(self) -> None:
        self.hears = False
        self.disconnections += 1

    def _ask(self) -> None:
        self._asked += 1
        self._read.set()

    async def _catch_up(self) -> None:
        while True:
            await self._read.wait()
            asked = self._asked
            try:
                reading = await self._broker.read(self._room, self.position, entries_max=300)
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
                continue
            if self._asked == asked:  # else what came meanwhile may be newer than what was read
                self._read.clear()
            if self.position is not None and not reading.recovered:
                self.seen.append(self.GAP)
            here = self.position
            if here is None or reading.position.epoch != here.epoch or reading.position.offset >= here.offset:
                self.seen.extend(entry.body for entry in reading.entries)
                self.position = reading.position

    def stop(self) -> None:
        self._task.cancel()


def redis_of(url: str) -> Redis:
    """A client as every process has it."""
    return redis_client(RedisSettings(redis_url=SecretStr(url)))


@asynccontextmanager
async def gateway_broker(url: str, *, silence_seconds: float = 5.0) -> AsyncIterator[RedisBroker]:
    """A gateway's broker, hearing."""
    async with redis_of(url) as client:
        broker = RedisBroker(client, silence_seconds=silence_seconds)
        task = asyncio.create_task(broker.run())
        try:
            yield broker
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def plain_publishing_is_heard(url: str, times: int) -> None:
    """Whether what one client publishes reaches a subscriber over another, as the live lane of notices has it."""
    async with redis_of(url) as here, redis_of(url) as there, there.pubsub() as pubsub:
        channel = f"live:{uuid4()}"
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=5)
        for number in range(times):
            await here.publish(channel, b"%d" % number)
            heard = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            assert heard is not None
            assert heard["data"] == b"%d" % number
            await here.connection_pool.disconnect()  # the next one goes to another server, if any will do


class Speaker:
    """Says numbered things in a room, each under its id until it is accepted."""

    def __init__(self, broker: Broker, room: UUID) -> None:
        self.accepted: list[tuple[Position, bytes]] = []
        self.refused = 0
        self.slowest_refusal_seconds = 0.0
        self._broker = broker
        self._room = room

    async def say(self, body: bytes, *, seconds: float = 30.0) -> Position:
        """Say it, again and again while the broker is away."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while True:
                began = loop.time()
                try:
                    published = await self._broker.publish(self._room, body.decode(), body, FREE)
                except BrokerUnavailable:
                    self.refused += 1
                    self.slowest_refusal_seconds = max(self.slowest_refusal_seconds, loop.time() - began)
                    await asyncio.sleep(0.05)
                else:
                    self.accepted.append((published.position, body))
                    return published.position

    async def say_until(self, done: asyncio.Event) -> None:
        """Talk on."""
        number = 0
        while not done.is_set():
            await self.say(b"talk-%d" % number)
            number += 1
            await asyncio.sleep(0.005)


def no_silent_hole(follower: Follower, speaker: Speaker) -> None:
    """What was seen is what was accepted, in order, but for what a gap tells of."""
    # One epoch after the other, each in the order of the room: answers to sends side by side come in any order.
    epochs = list(dict.fromkeys(position.epoch for position, _ in speaker.accepted))
    ordered = sorted(speaker.accepted, key=lambda said: (epochs.index(said[0].epoch), said[0].offset))
    said = [body for _, body in ordered]
    begins = {next(n for n, (position, _) in enumerate(ordered) if position.epoch == epoch) for epoch in epochs}
    place, told = 0, False
    for body in (seen for seen in follower.seen if seen != UNSURE):
        if body == Follower.GAP:
            place, told = -1, True
            continue
        here = said.index(body)
        # The end of an epoch may be lost with its server; then a gap was told, and the next epoch goes on.
        assert here == place or place < 0 or (told and here in begins), (place, said[place], body, follower.seen)
        place = here + 1
    assert place == len(said)
