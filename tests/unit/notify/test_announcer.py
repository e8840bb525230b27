"""What Redis does not take at once is said later, in its order, and nobody waits for it or cannot stop for it."""

import asyncio
import socket
from datetime import UTC, datetime
from itertools import groupby

from redis.asyncio import Redis

from notify.announcer import UNSAID_MAX, Announcer, FollowChange, RedisChannels
from runtime.ids import uuid7
from tests.unit.notify.people import notice

CHANNELS = RedisChannels("test")


class Taker:
    """Answers as Redis does to a client that publishes, and keeps what was published as (channel, content)."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.full = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await self._command(reader):
            if words[0] == b"PUBLISH":
                self.taken.append((words[1].decode(), words[2]))
                writer.write(b":1\r\n")
            else:
                writer.write(b"+OK\r\n")
            if self.taken and self.taken[-1][0] == CHANNELS.follows:
                self.full.set()
        writer.close()

    async def _command(self, reader: asyncio.StreamReader) -> list[bytes]:
        if not (head := await reader.readline()):
            return []
        words = []
        for _ in range(int(head[1:])):
            length = int((await reader.readline())[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        return words


async def test_what_was_not_taken_is_said_when_redis_answers_again() -> None:
    reserved = socket.create_server(("127.0.0.1", 0))
    change = FollowChange(follower_id=uuid7(), channel_id=uuid7(), followed_at=datetime.now(UTC))
    async with Redis(host="127.0.0.1", port=reserved.getsockname()[1]) as redis:
        announcer = Announcer(redis, CHANNELS, publish_seconds_max=0.3)
        # the port takes connections and nobody answers on them: a frozen Redis
        async with asyncio.timeout(10):
            await announcer.announce(notice(1))
            await announcer.announce_stored(notice(2))
            await announcer.follow_changed(change)
        saying, taker = asyncio.create_task(announcer.run()), Taker()
        server = await asyncio.start_server(taker.serve, sock=reserved)
        await asyncio.wait_for(taker.full.wait(), 10)
        saying.cancel()
        await asyncio.wait([saying])
    server.close()
    # what is not answered in time is said twice, before what comes behind it
    assert [said for said, _ in groupby(taker.taken)] == [
        (CHANNELS.stored, notice(1).model_dump_json().encode()),
        (CHANNELS.stored, notice(2).model_dump_json().encode()),
        (CHANNELS.follows, change.model_dump_json().encode()),
    ]


async def test_what_waits_for_redis_is_bounded() -> None:
    async with Redis.from_url("redis://127.0.0.1:1") as nobody:
        announcer = Announcer(nobody, CHANNELS, publish_seconds_max=0.3)
        for second in range(UNSAID_MAX + 20):
            await announcer.announce(notice(second))
        assert len(announcer._unsaid) == UNSAID_MAX


async def test_a_stop_that_comes_while_redis_is_being_lost_is_a_stop() -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(4_096):
            if b"PUBLISH" in content:
                break
            writer.write(b"+OK\r\n" * content.count(b"*"))
        writer.close()

    server = await asyncio.start_server(lose, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for turns in range(1, 80):
        async with Redis.from_url(url) as redis:
            announcer = Announcer(redis, CHANNELS, publish_seconds_max=0.5)
            saying = asyncio.create_task(announcer.announce(notice(1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            was_asked = saying.cancel()
            await asyncio.wait([saying], timeout=5)
            assert saying.done()
            assert saying.cancelled() or not was_asked, turns
    server.close()
    await server.wait_closed()
