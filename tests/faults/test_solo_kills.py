"""SIGKILL of the one process while streams run: the media server stays, and what follows is as if nothing had been."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from pydantic import SecretStr

from console.demo.people import Origin, Person
from console.demo.steps import StepFailed
from deploy.local import Stack
from runtime.postgres import connect
from tests import engines
from tests.conftest import FaultPlan
from tests.integration.chat.gateways import Client, Gateway
from tests.integration.solo.running import Solo, running_solo
from tests.integration.streaming.publisher import eventually, publishing

pytestmark = [pytest.mark.engines, pytest.mark.faults, pytest.mark.timeout(900)]

STREAMERS = 2
STRIKE_SECONDS = (0.2, 2.5)
AGAIN_SECONDS = 0.2
"""A publisher that is refused, or a client that is cut, comes back after this."""
LATE_SECONDS = 1.0
"""A reader comes back later than who talks, and has something to catch up with."""
RECORDED_SECONDS_MAX = 60.0


@dataclass
class Server:
    """The engines, which stay up, and the one process, which does not."""

    stack: Stack
    logs: Path
    session: aiohttp.ClientSession
    runs: AsyncExitStack
    solo: Solo = field(init=False)
    started: int = 0

    async def start(self) -> None:
        self.started += 1
        settings = self.stack.environment() | {
            "LIVESTREAM_HTTP_PORT": str(self.stack.ports["solo"]),
            "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
            # Beside other tests an encoder that stands back gets nothing.
            "LIVESTREAM_ARCHIVE_WORKER_NICE": "0",
        }
        self.solo = await self.runs.enter_async_context(running_solo(settings, self.logs / f"solo-{self.started}.log"))
        await self.solo.ready()

    @property
    def origin(self) -> Origin:
        return Origin(self.session, self.stack.environment()["LIVESTREAM_PUBLIC_URL"])

    @property
    def gateway(self) -> Gateway:
        return Gateway(self.stack.ports["solo"], self.solo.process, self.solo.log)

    async def rows(self, schema: str, query: str, *arguments: object) -> list[dict[str, Any]]:
        dsn = SecretStr(self.stack.environment()["LIVESTREAM_POSTGRES_DSN"])
        connection = await connect(dsn, schema=schema)
        try:
            return [dict(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def said(self, schema: str, stream_id: UUID) -> list[str]:
        """The types of the events about a stream, as said."""
        rows = await self.rows(schema, "SELECT type, data FROM outbox ORDER BY id")
        return [row["type"] for row in rows if json.loads(row["data"]).get("stream_id") == str(stream_id)]


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> AsyncIterator[Server]:
    """A private stack of the profile solo, with its one process ready."""
    directory = tmp_path_factory.mktemp("stack")
    stack = Stack(directory, profile="solo", port_base=engines.OWN_PORT_BASE)
    try:
        await asyncio.to_thread(stack.up, stack.engines, say=lambda _: None)
        async with AsyncExitStack() as runs, aiohttp.ClientSession() as session:
            made = Server(stack, tmp_path, session, runs)
            await made.start()
            yield made
    finally:
        await asyncio.to_thread(stack.down)


@dataclass
class Show:
    """A streamer on air, a follower, and two people who talk."""

    streamer: Person
    follower: Person
    ingest_url: str
    reader: Client
    talker: Client
    heard: list[str] = field(default_factory=list)
    """What the gateway has confirmed."""

    async def publish(self) -> None:
        """Be on air until cancelled, from however many connections."""
        while True:
            async with publishing(self.ingest_url, seconds=3_600) as ffmpeg:
                await ffmpeg.wait()
            await asyncio.sleep(AGAIN_SECONDS)

    async def listen(self, server: Server) -> None:
        """Be in the room until cancelled."""
        while True:
            if self.reader.gone:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    await self.reader.join(server.gateway)
            await asyncio.sleep(LATE_SECONDS)

    async def talk(self, server: Server) -> None:
        """Say one thing after the other until cancelled, each until it is confirmed."""
        number = 0
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError, AssertionError):
                if self.talker.gone:
                    await self.talker.join(server.gateway)
                async with asyncio.timeout(2):
                    said = await self.talker.say(f"{number}", f"message {number}")
                if said["type"] != "error":
                    self.heard.append(f"message {number}")
                    number += 1
            await asyncio.sleep(AGAIN_SECONDS)


async def a_show(server: Server) -> Show:
    origin = server.origin
    streamer, follower = await origin.register("streamer"), await origin.register("follower")
    made = await origin.call("POST", "/api/channels/me/stream-key", person=streamer, status=201)

    async def followed() -> bool:
        with suppress(StepFailed):  # notify has not heard of the streamer yet
            await origin.call("PUT", f"/api/users/{streamer.user_id}/followers/me", person=follower, status=204)
            return True
        return False

    await eventually(followed, until=bool, what="cannot follow")
    url = f"{made['ingest_url']}/{made['stream_key']}"
    reader, talker = (Client(server.session, streamer.user_id, one.access_token) for one in (follower, streamer))
    return Show(streamer, follower, url, reader, talker)


async def test_the_process_may_be_killed_at_any_moment_of_a_stream(server: Server, fault_plan: FaultPlan) -> None:
    moments = random.Random(fault_plan.seed)
    shows = [await a_show(server) for _ in range(STREAMERS)]
    async with asyncio.TaskGroup() as tasks:
        publishers = [tasks.create_task(show.publish()) for show in shows]
        others = [tasks.create_task(work(server)) for show in shows for work in (show.listen, show.talk)]
        streams = [await live_stream(server, show) for show in shows]
        for point in range(fault_plan.points):
            await asyncio.sleep(moments.uniform(*STRIKE_SECONDS))
            await server.solo.kill()
            await server.start()
            for show, publisher, stream_id, share in zip(shows, publishers, streams, (0.4, 0.8), strict=True):
                if point + 1 == int(share * fault_plan.points):  # so that strikes hit what comes after the end, too
                    await end(server, show, publisher, stream_id)
        for show, stream_id in zip(shows, streams, strict=True):
            await check_stream(server, show, stream_id)
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        for show in shows:
            await check_chat(server, show)


async def live_stream(server: Server, show: Show) -> UUID:
    query = "SELECT stream_id FROM streams WHERE channel_id = $1"

    async def found() -> Sequence[dict[str, Any]]:
        return await server.rows("streaming", query, show.streamer.user_id)

    [row] = await eventually(found, until=bool, what="not live")
    stream_id: UUID = row["stream_id"]
    return stream_id


async def end(server: Server, show: Show, publisher: "asyncio.Task[None]", stream_id: UUID) -> None:
    """The streamer ends it once there is something to see, and then takes the encoder off air."""

    async def segments() -> int:
        return (await server.origin.text(f"/live/{stream_id}/index.m3u8"))[1].count(".ts")

    await eventually(segments, until=lambda count: count > 1, what="no second segment")
    await server.origin.call("POST", f"/api/streams/{stream_id}/end", person=show.streamer)
    publisher.cancel()
    await asyncio.wait([publisher])


async def check_stream(server: Server, show: Show, stream_id: UUID) -> None:
    """One stream, said once; one notice; the whole recording."""

    async def of_recording() -> list[str]:
        return await server.said("archive", stream_id)

    said = await eventually(
        of_recording, until=lambda all_: "recording.completed" in all_, seconds_max=RECORDED_SECONDS_MAX
    )
    # How far the ladder was is said as often as there was time to.
    assert [kind for kind in said if kind != "recording.progressed"] == ["recording.published", "recording.completed"]
    assert await server.said("streaming", stream_id) == ["stream.started", "stream.ended"]
    own = await server.rows("streaming", "SELECT stream_id FROM streams WHERE channel_id = $1", show.streamer.user_id)
    assert [row["stream_id"] for row in own] == [stream_id]
    notices = await server.origin.call("GET", "/api/notifications?limit=100", person=show.follower)
    assert [notice["stream_id"] for notice in notices["items"]] == [str(stream_id)]
    await asyncio.to_thread(check_recording, server.stack.environment(), stream_id)


def check_recording(settings: dict[str, str], stream_id: UUID) -> None:
    """Every segment that the media server wrote is in the store, whole, and the playlist names it."""
    written = Path(settings["LIVESTREAM_ARCHIVE_HLS_DIRECTORY"]) / str(stream_id)
    stored = Path(settings["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"]) / str(stream_id) / "source"
    sizes = {piece.name: piece.stat().st_size for piece in written.glob("*.ts") if piece.stat().st_size}
    assert len(sizes) > 1
    assert {piece.name: piece.stat().st_size for piece in stored.glob("*.ts")} == sizes
    named = [line for line in (stored / "index.m3u8").read_text().splitlines() if line.endswith(".ts")]
    assert named == sorted(sizes, key=lambda name: int(name.removesuffix(".ts")))


async def check_chat(server: Server, show: Show) -> None:
    """Whoever was in the room has all that was confirmed, in order and without a hole."""
    if show.reader.gone:
        await show.reader.join(server.gateway)

    async def missing() -> list[str]:
        return [text for text in show.heard if text not in show.reader.seen]

    await eventually(missing, until=lambda texts: not texts, what="not heard")
    show.reader.assert_no_silent_hole()
    assert Client.GAP not in show.reader.seen, "Redis was there all the time"
    assert len(show.heard) > 1
    assert [text for text in show.reader.seen if text in set(show.heard)] == show.heard
    await show.reader.leave()
    await show.talker.leave()
