"""A server that outgrew Postgres and its disk: moved to Kafka and S3, it has every event, row and byte, and goes on."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from console.demo.listeners import NoticeListener
from console.demo.media import make_clip, play, publishing
from console.demo.people import Origin, Person
from console.demo.steps import eventually
from deploy.local import PROFILES, Stack
from deploy.local.places import CHECKOUT
from eventbus.bus import Message
from eventbus.bus_configured import open_bus
from eventbus.move_to_kafka import event_id_of
from eventbus.settings import BusSettings
from events import DEAD_LETTERS, TOPICS
from tests.conftest import StackMaker

pytestmark = pytest.mark.timeout(300)

PUBLISHED_SECONDS = 4.0
# What the bus itself keeps per backend; everything else must be there row by row.
ROWS_THAT_MOVE = {"outbox_cursor", "group_cursor", "group_member", "carrier"}
VERB_SECONDS_MAX = 120
TABLES = """
    SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND n.nspname IN ('accounts', 'streaming', 'chat', 'notify', 'archive', 'bus')
"""
DIGEST = """
    SELECT count(*) AS rows, md5(string_agg(row, '|' ORDER BY row)) AS digest
    FROM (SELECT t::text AS row FROM TABLE AS t) AS found
"""


class World:
    """The installation as its people see it, whatever it runs on."""

    def __init__(self, stack: Stack, origin: Origin) -> None:
        self.stack = stack
        self.origin = origin

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: Stack) -> AsyncIterator["World"]:
        async with aiohttp.ClientSession() as session:
            yield cls(stack, Origin(session, stack.environment()["LIVESTREAM_PUBLIC_URL"]))

    async def stream(self, streamer: Person, publish_url: str, listener: NoticeListener) -> UUID:
        """Publish for some seconds, with a follower who listens; the id once its recording is complete."""
        clip = self.stack.directory / "clip.flv"
        await make_clip(clip)
        heard_before = len(listener.heard)
        async with publishing(clip, publish_url) as publisher:

            async def told() -> int:
                return len(listener.heard)

            await eventually("a notice", told, lambda heard: heard > heard_before, within_seconds=60)
            await publisher.until(PUBLISHED_SECONDS)
            stream_id = UUID(listener.heard[-1][0]["stream_id"])
            await self.origin.call("POST", f"/api/streams/{stream_id}/end", person=streamer)
        await eventually(
            "a complete recording", lambda: self.recording(stream_id), lambda seen: seen["status"] == "completed",
            within_seconds=120,
        )  # fmt: skip
        return stream_id

    async def recording(self, stream_id: UUID) -> dict[str, Any]:
        status, text = await self.origin.text(f"/api/archives/{stream_id}")
        found: dict[str, Any] = json.loads(text) if status == 200 else {"status": f"HTTP {status}"}
        return found

    async def notices(self, person: Person) -> list[str]:
        inbox = await self.origin.call("GET", "/api/notifications", person=person)
        return [item["stream_id"] for item in inbox["items"]]


async def rows_of(dsn: str) -> dict[str, tuple[int, str | None]]:
    """Every table of ours with its number of rows and a digest of them, whatever their order."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        tables = await connection.fetch(TABLES)
        found = {}
        for table in tables:
            name = f"{table['schema']}.{table['name']}"
            row = await connection.fetchrow(DIGEST.replace("TABLE", name))
            assert row is not None
            found[name] = row["rows"], row["digest"]
        return {name: rows for name, rows in found.items() if name.partition(".")[2] not in ROWS_THAT_MOVE}
    finally:
        await connection.close()


async def sessions_of(dsn: str) -> int:
    """How many of our processes' sessions Postgres still works for."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'livestream-%'"
        count: int = await connection.fetchval(asked)
        return count
    finally:
        await connection.close()


async def events_of(environment: Mapping[str, str], dsn: str) -> dict[str, list[Message]]:
    settings = BusSettings(
        bus_backend="postgres" if environment.get("LIVESTREAM_BUS_BACKEND") == "postgres" else "kafka",
        postgres_dsn=SecretStr(dsn),
        kafka_bootstrap_servers=environment.get("LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS", ""),
    )
    async with open_bus(settings) as bus:
        return {topic.name: [message async for message in bus.read(topic.name)] for topic in TOPICS}


def livestream(environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run a verb as an operator would; its JSON."""
    ended = subprocess.run(
        [sys.executable, "-m", "console", *arguments, "--json"],
        env={**_outside(), **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=VERB_SECONDS_MAX,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}


def test_a_server_grows_out_of_postgres_and_its_disk(own_stack: StackMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    # the services inherit it: the same channel streams before and after, and its follower is told of both
    monkeypatch.setenv("LIVESTREAM_NOTIFY_COOL_DOWN_SECONDS", "0")
    solo = own_stack(*PROFILES["solo"].parts, profile="solo")
    asyncio.run(_grow_out(solo))


async def _grow_out(solo: Stack) -> None:
    dsn = solo.environment()["LIVESTREAM_POSTGRES_DSN"]
    async with World.of(solo) as world:
        streamer, follower = await world.origin.register("streamer"), await world.origin.register("follower")
        key = await world.origin.call("POST", "/api/channels/me/stream-key", person=streamer, status=201)
        publish_url = f"{key['ingest_url']}/{key['stream_key']}"
        path = f"/api/users/{streamer.user_id}/followers"

        async def known() -> int:
            return (await world.origin.text(path))[0]

        await eventually("the streamer known to notify", known, lambda status: status == 200, within_seconds=60)
        await world.origin.call("PUT", f"{path}/me", person=follower, status=204)
        async with AsyncExitStack() as exits:
            listener = NoticeListener(world.origin, follower)
            await listener.connect()
            exits.push_async_callback(listener.close)
            first = await world.stream(streamer, publish_url, listener)
        said = await events_of(solo.environment(), dsn)
    await asyncio.to_thread(solo.kill, "solo")  # no farewell: what was under way is under way
    await eventually("the end of its sessions", lambda: sessions_of(dsn), lambda count: count == 0, within_seconds=30)
    before = await rows_of(dsn)

    full = Stack(solo.directory, profile="full")
    try:
        await asyncio.to_thread(full.up, ("kafka", "minio"), say=lambda _: None)
        environment = {
            **full.environment(),
            "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": solo.environment()["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"],
        }
        moved = await asyncio.to_thread(
            livestream, {**environment, "LIVESTREAM_BUS_BACKEND": "postgres"}, "migrate", "solo-to-full"
        )
        copied = await asyncio.to_thread(livestream, environment, "objects", "copy", "--from", "disk", "--to", "s3")
        assert copied["failed"] == 0
        after = await rows_of(dsn)
        assert {table: rows for table, rows in after.items() if rows != before[table]} == {}
        heard = await events_of(full.environment(), dsn)
        for topic in TOPICS:
            ids = [event_id_of(message.headers) for message in said[topic.name]]
            assert set(ids) <= {event_id_of(message.headers) for message in heard[topic.name]}, topic.name
            assert moved["records"][topic.name] >= len(ids)
        assert sum(map(len, said.values())) > 5
        await _one_process_on_kafka_and_s3(environment, full.ports["solo"])
        await asyncio.to_thread(full.up, PROFILES["full"].parts, say=lambda _: None)
        await _go_on(
            full, streamer, follower, publish_url, first, Path(environment["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"])
        )
        assert not (await events_of(full.environment(), dsn))[DEAD_LETTERS.name]
    finally:
        await asyncio.to_thread(full.down)


async def _one_process_on_kafka_and_s3(environment: Mapping[str, str], port: int) -> None:
    """What was one process may stay one: it gets ready on the new parts, and ends when asked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "solo", cwd=CHECKOUT,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={**_outside(), **environment, "LIVESTREAM_BUS_BACKEND": "kafka", "LIVESTREAM_HTTP_PORT": str(port)},
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:

            async def ready() -> object:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        return answer.status if answer.status == 200 else await answer.text()
                except aiohttp.ClientError as error:
                    return error

            await eventually("one process on Kafka and S3", ready, lambda seen: seen == 200, within_seconds=60)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), timeout=15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _go_on(full: Stack, streamer: Person, follower: Person, publish_url: str, first: UUID, disk: Path) -> None:
    """The old recording plays byte by byte from S3, and the next stream is told, recorded and played."""
    async with World.of(full) as world:
        for file in sorted((disk / str(first)).rglob("*")):
            if file.is_file():
                url = f"{world.origin.url}/recordings/{file.relative_to(disk)}"
                async with world.origin.session.get(url) as answer:
                    assert (answer.status, await answer.read()) == (200, file.read_bytes()), url
        assert (await play(f"{world.origin.url}/recordings/{first}/master.m3u8")).frames > 30
        assert await world.notices(follower) == [str(first)]
        listener = NoticeListener(world.origin, follower)
        await listener.connect()
        try:
            second = await world.stream(streamer, publish_url, listener)
        finally:
            await listener.close()
        assert second != first
        assert sorted(await world.notices(follower)) == sorted([str(first), str(second)])
        assert (await play(f"{world.origin.url}/recordings/{second}/master.m3u8")).frames > 30
