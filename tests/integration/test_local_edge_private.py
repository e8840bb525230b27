"""Private streams at a real edge, with streaming behind it: they play at signed addresses, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from deploy.local import Stack
from streaming.streams.playback import PlaybackSigner
from tests import engines
from tests.integration.edge import Answer, ask
from tests.integration.streaming.studio import Studio, User, open_studio

SEGMENT = b"0123456789"
DEADLINE_SECONDS = 15.0


@dataclass
class Edge:
    """nginx, and streaming as it asks it."""

    stack: Stack
    studio: Studio
    signer: PlaybackSigner

    async def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        return await asyncio.to_thread(ask, self.stack.ports["edge"], path, method=method, headers=headers)

    async def status(self, path: str) -> int:
        return (await self.ask(path)).status

    async def until(self, path: str, status: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answered := await self.status(path)) != status:
            assert time.monotonic() < deadline, f"{path}: still {answered}"
            await asyncio.sleep(0.1)

    async def request(self, method: str, path: str, user: User | None = None, **body: object) -> tuple[int, Any]:
        headers = user.headers if user else {}
        async with self.studio.client.request(method, path, headers=headers, json=body) as answer:
            return answer.status, await answer.json()

    async def go_live(self, user: User, visibility: str) -> str:
        """A stream of the user's with a playlist and a segment: its id."""
        await self.request("PATCH", "/api/channels/me", user, visibility=visibility)
        _, made = await self.request("POST", "/api/channels/me/stream-key", user)
        _, stream_id = await self.studio.publish(made["stream_key"], client=user.user_id.int % 1000)
        folder = Path(self.stack.environment()["LIVESTREAM_ARCHIVE_HLS_DIRECTORY"]) / stream_id
        folder.mkdir(parents=True)
        (folder / "index.m3u8").write_text("#EXTM3U\n0.ts\n")
        (folder / "0.ts").write_bytes(SEGMENT)
        return stream_id

    def signed(self, stream_id: str, *, seconds: float) -> str:
        return self.signer.sign(UUID(stream_id), datetime.now(UTC) + timedelta(seconds=seconds)).url


@pytest.fixture
async def edge(database: engines.Database, module_stack: Callable[..., Stack]) -> AsyncIterator[Edge]:
    stack = await asyncio.to_thread(module_stack, "nginx")
    secret = stack.environment()["LIVESTREAM_STREAMING_PLAYBACK_SECRET"]
    async with AsyncExitStack() as closing:
        studio = await closing.enter_async_context(
            open_studio(database.dsn, port=stack.ports["streaming"], playback_secret=secret)
        )
        yield Edge(stack, studio, PlaybackSigner(SecretStr(secret)))


async def test_a_private_stream_plays_for_its_streamer_and_whom_they_let_in(edge: Edge) -> None:
    ada, bob = User("ada"), User("bob")
    stream_id, public = await edge.go_live(ada, "private"), await edge.go_live(bob, "public")
    plain = f"/live/{stream_id}/index.m3u8"
    assert await edge.status(plain) == 404
    assert await edge.status(f"/live/{stream_id}/0.ts") == 404
    opened = await edge.ask(f"/live/{public}/0.ts")
    assert (opened.status, opened.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")

    asked = f"/api/streams/{stream_id}/playback"
    assert [(await edge.request("POST", asked, one))[0] for one in (None, bob, ada)] == [404, 404, 200]
    url = (await edge.request("POST", asked, ada))[1]["playback_url"]
    playlist = await edge.ask(url)
    assert (playlist.status, playlist.body, playlist.headers["cache-control"]) == (
        200,
        b"#EXTM3U\n0.ts\n",
        "private, no-cache",
    )
    # what the playlist names is below the same signature
    segment_url = url.replace("index.m3u8", "0.ts")
    part = await edge.ask(segment_url, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["cache-control"]) == (206, b"234", "private, max-age=3600, immutable")
    head = await edge.ask(segment_url, method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, "10")
    assert (await edge.ask(segment_url, method="POST")).status == 405

    _, made = await edge.request("POST", f"/api/streams/{stream_id}/invitations", ada, minutes=5)
    status, invited = await edge.request("POST", asked, bob, invitation=made["invitation"])
    assert (status, await edge.status(invited["playback_url"])) == (200, 200)

    folder = url.removesuffix("/index.m3u8").rpartition("/")[0]
    signature = folder.rpartition(".")[2]
    # not its last character, of which only two bits count
    forged = f"{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    later = edge.signed(stream_id, seconds=9_999).split("/")[2].split(".")[0]
    for path in (
        edge.signed(stream_id, seconds=-5),
        f"{folder}/{public}/0.ts",
        edge.signed(public, seconds=60).replace(public, stream_id),
        f"/live/{later}.{signature}/{stream_id}/0.ts",
        f"{folder.removesuffix(signature)}{forged}/{stream_id}/0.ts",
        f"{folder}/../{stream_id}/0.ts",
        f"{folder}%2f..%2f{stream_id}/0.ts",
        f"{folder}//../../live/{stream_id}/0.ts",
        f"/live/~/{stream_id}/0.ts",
        f"/live/~0000000000./{stream_id}/0.ts",
        f"/live//{stream_id}/0.ts",
        f"/live/%2e/{stream_id}/0.ts",
        f"/live/{stream_id}/%30.ts",
        f"/live/{stream_id}/0.ts?{signature}",
        f"{folder}/{stream_id}/0.ts%00",
        f"{folder}/{stream_id}/1.ts",
        f"{folder}/{stream_id}/",
        "/.live",
        f"/internal/streams/{public}/playback",
    ):
        assert await edge.status(path) in (400, 404), path
    log = edge.stack.log("nginx").read_text()
    assert f"/live/~/{stream_id}/index.m3u8" in log
    assert signature not in log
    assert edge.stack.environment()["LIVESTREAM_STREAMING_PLAYBACK_SECRET"] not in log


async def test_a_change_of_visibility_takes_hold_within_seconds(edge: Edge) -> None:
    ada = User("ada")
    stream_id = await edge.go_live(ada, "unlisted")
    plain = f"/live/{stream_id}/index.m3u8"
    assert await edge.status(plain) == 200
    for visibility, status in (("private", 404), ("public", 200)):
        assert (await edge.request("PATCH", f"/api/streams/{stream_id}", ada, visibility=visibility))[0] == 200
        await edge.until(plain, status)


async def test_while_streaming_is_away_known_streams_go_on_and_unknown_ones_are_closed(edge: Edge) -> None:
    known, unknown = await edge.go_live(User("ada"), "public"), await edge.go_live(User("bob"), "public")
    assert await edge.status(f"/live/{known}/0.ts") == 200
    await edge.studio.client.close()
    until = time.monotonic() + 5.5
    while time.monotonic() < until:
        assert await edge.status(f"/live/{known}/0.ts") == 200
        await asyncio.sleep(0.5)
    assert await edge.status(f"/live/{unknown}/0.ts") == 502
    # of what is not there nobody is asked, so whoever tries ids costs no service anything
    for path in (f"/live/{uuid4()}/index.m3u8", f"/live/{uuid4()}/0.ts", f"/live/{unknown}/7.ts"):
        assert await edge.status(path) == 404, path
    # what is signed needs nobody to be asked
    assert await edge.status(edge.signed(unknown, seconds=60)) == 200
