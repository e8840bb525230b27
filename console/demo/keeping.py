"""What a recording is good for once it plays: pictures, captions, clips, a file to keep; and its owner's last word."""

import asyncio
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import aiohttp

from console.demo.media import FRAMES_PER_SECOND, Played, play, play_file
from console.demo.people import Origin, Person
from console.demo.steps import check, eventually

LANGUAGE = "en"
CAPTIONS = "WEBVTT\n\n00:00:01.000 --> 00:00:04.000\nThe clock begins to run.\n"
CLIP_FROM_SECONDS, CLIP_TO_SECONDS = 3.5, 8.5
CLIP_TOLERANCE_FRAMES = 1
MADE_WITHIN_SECONDS = 60.0
SEGMENT_SECONDS_MAX = 4.0


class Keeping:
    """The streamer, and a stranger without a login, with one recording."""

    def __init__(self, origin: Origin, streamer: Person, directory: Path) -> None:
        self._origin = origin
        self._streamer = streamer
        self._directory = directory
        self.secrets: list[str] = []

    async def rewind(self, stream_id: UUID, *, behind_seconds: float) -> float:
        """How much of a running stream can be gone back to: all of it from its first segment, but for the last."""

        async def look() -> float:
            status, text = await self._origin.text(f"/api/archives/{stream_id}/rewind.m3u8")
            if status != HTTPStatus.OK:
                return 0.0
            check("#EXT-X-PLAYLIST-TYPE:EVENT" in text, "a playlist that only grows", text[:200])
            check("/source/0.ts" in text, "the stream's first segment", text[:300])
            return sum(float(line[8:].split(",")[0]) for line in text.splitlines() if line.startswith("#EXTINF:"))

        enough = behind_seconds - SEGMENT_SECONDS_MAX
        return await eventually(f"{enough:g} s to go back", look, lambda seen: seen >= enough, within_seconds=15)

    async def pictures(self, stream_id: UUID) -> int:
        """How many bytes the poster has; the storyboard's pictures are there too."""

        async def look() -> dict[str, Any]:
            found: dict[str, Any] = await self._origin.call("GET", f"/api/archives/{stream_id}")
            return found

        recording = await eventually(
            "poster and storyboard",
            look,
            lambda seen: bool(seen["poster_url"] and seen["storyboard_url"]),
            within_seconds=MADE_WITHIN_SECONDS,
        )
        poster = await self._bytes(recording["poster_url"], "image/jpeg")
        storyboard = (await self._bytes(recording["storyboard_url"], "text/vtt")).decode()
        named = [line for line in storyboard.splitlines() if "#xywh=" in line]
        check(bool(named), "pictures in the storyboard", storyboard[:200])
        await self._bytes(urljoin(recording["storyboard_url"], named[0].partition("#")[0]), "image/jpeg")
        return len(poster)

    async def captions(self, stream_id: UUID) -> None:
        """Captions are uploaded, and the master playlist names them."""
        url = f"{self._origin.url}/api/archives/{stream_id}/captions/{LANGUAGE}"
        headers = {**self._streamer.headers, "Content-Type": "text/vtt"}
        async with self._origin.session.put(url, data=CAPTIONS, headers=headers) as answer:
            check(answer.status < HTTPStatus.BAD_REQUEST, "captions accepted", (answer.status, await answer.text()))
        _, master = await self._origin.text(f"/recordings/{stream_id}/master.m3u8")
        check("TYPE=SUBTITLES" in master, "captions in the master playlist", master)
        recording = await self._origin.call("GET", f"/api/archives/{stream_id}")
        stored = await self._bytes(recording["captions"][0]["url"], "text/vtt")
        check(b"The clock begins to run." in stored, "the captions that were sent", stored[:200])

    async def clip(self, stream_id: UUID) -> tuple[Played, int]:
        """What a private clip of five seconds plays, and the milliseconds it took; nobody else sees it."""
        asked_at_seconds = time.time()
        body = {
            "from_seconds": CLIP_FROM_SECONDS,
            "to_seconds": CLIP_TO_SECONDS,
            "exact": True,
            "title": "The best of it",
            "visibility": "private",
        }
        clip = await self._origin.call(
            "POST", f"/api/archives/{stream_id}/clips", person=self._streamer, body=body, status=HTTPStatus.ACCEPTED
        )
        path = f"/api/archives/{clip['stream_id']}"

        async def look() -> dict[str, Any]:
            found: dict[str, Any] = await self._origin.call("GET", path, person=self._streamer)
            check(found["status"] != "failed", "a clip", found)
            return found

        made = await eventually(
            "a clip that plays", look, lambda seen: seen["playback_url"] is not None, within_seconds=MADE_WITHIN_SECONDS
        )
        took_ms = round((time.time() - asked_at_seconds) * 1000)
        await self._check_unseen(path, made["playback_url"])
        access = await self._origin.call("POST", f"{path}/access", person=self._streamer, status=HTTPStatus.CREATED)
        self.secrets.append(access["grant"])
        played = await play(self._origin.url + made["playback_url"], cookie=access["cookie"].partition(";")[0])
        wanted = round((CLIP_TO_SECONDS - CLIP_FROM_SECONDS) * FRAMES_PER_SECOND)
        check(abs(played.frames - wanted) <= CLIP_TOLERANCE_FRAMES, f"{wanted} frames", played)
        return played, took_ms

    async def download(self, stream_id: UUID) -> tuple[Played, int]:
        """What a viewer's copy of the recording plays, fetched in two halves, and the bytes that it has."""
        path = f"/api/archives/{stream_id}/download"
        await self._origin.call("POST", path, status=HTTPStatus.ACCEPTED)

        async def look() -> dict[str, Any]:
            made: dict[str, Any] = await self._origin.call("GET", path)
            check(made["status"] != "failed", "a file", made)
            return made

        made = await eventually("a file", look, lambda seen: bool(seen["url"]), within_seconds=MADE_WITHIN_SECONDS)
        half = made["size_bytes"] // 2
        copy = self._directory / "demo-copy.mp4"
        with copy.open("wb") as file:
            for first, last in ((0, half - 1), (half, made["size_bytes"] - 1)):
                file.write(await self._range(made["url"], first, last))
        played = await play_file(copy)
        await asyncio.to_thread(copy.unlink)
        return played, int(made["size_bytes"])

    async def delete_and_restore(self, stream_id: UUID) -> None:
        """Deleted, it is gone for everybody else; restored, it is back."""
        path = f"/api/archives/{stream_id}"
        await self._origin.call("DELETE", path, person=self._streamer)
        status, _ = await self._origin.text(path)
        check(status == HTTPStatus.NOT_FOUND, "nothing for a stranger", status)
        mine = await self._origin.call("GET", path, person=self._streamer)
        check(mine["deleted_at"] is not None, "its owner to see that it is deleted", mine)
        restored = await self._origin.call("POST", f"{path}/restore", person=self._streamer)
        check(restored["deleted_at"] is None, "a restored recording", restored)
        status, _ = await self._origin.text(path)
        check(status == HTTPStatus.OK, "the recording back for everybody", status)

    async def _check_unseen(self, path: str, playback_url: str) -> None:
        for secret in (path, playback_url):
            status, _ = await self._origin.text(secret)
            check(status == HTTPStatus.NOT_FOUND, f"nothing at {secret} for a stranger", status)

    async def _bytes(self, path: str, content_type: str) -> bytes:
        async with self._origin.session.get(self._origin.url + path) as answer:
            body = await answer.read()
            seen = (answer.status, answer.content_type)
            check(seen == (HTTPStatus.OK, content_type), f"{content_type} at {path}", seen)
            return body

    async def _range(self, path: str, first: int, last: int) -> bytes:
        headers = {aiohttp.hdrs.RANGE: f"bytes={first}-{last}"}
        async with self._origin.session.get(self._origin.url + path, headers=headers) as answer:
            body = await answer.read()
            seen = (answer.status, len(body))
            check(seen == (HTTPStatus.PARTIAL_CONTENT, last - first + 1), f"bytes {first} to {last} of {path}", seen)
            return body
