"""What a streamer does with a stream: announce, rename, count who watches, hide; and a person who wants to be gone."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from console.demo.people import REQUEST_TIMEOUT, Origin, Person
from console.demo.steps import StepFailed, check, eventually

TITLE = "First light"
NEW_TITLE = "Second light"
WATCHERS = 3
REPETITIONS = 20
HEARTBEAT_SECONDS_MIN = 10.5
"""A heartbeat counts when it comes at least 10 s after the one before."""
SHOWN_SECONDS_MAX = 30.0
FORGOTTEN_SECONDS_MAX = 30.0


@dataclass
class Watcher:
    """Somebody's player, as the server knows it: by the cookie that it was given last."""

    cookie: str = ""
    said_at: float = field(default_factory=time.monotonic)
    counted: int | None = None
    """How many watch, as it was told when it was counted itself."""


class Controlling:
    """The stream of the story in its streamer's hands."""

    def __init__(self, origin: Origin, streamer: Person) -> None:
        self._origin = origin
        self._streamer = streamer
        self._watchers: list[Watcher] = []
        self._cheat = Watcher()
        self.secrets: list[str] = []

    async def announce(self) -> UUID:
        """Prepare the stream; the id that it is announced under."""
        body: dict[str, object] = {"title": TITLE, "category": "Demo", "tags": ["Demo", "first"], "language": "en"}
        prepared = await self._call("POST", "/api/streams", body=body, status=201)
        check(prepared["status"] == "prepared", "a prepared stream", prepared)
        return UUID(prepared["stream_id"])

    async def is_the_one(self, announced_id: UUID, stream: dict[str, Any]) -> None:
        """The stream that has begun is the announced one."""
        found = await self._call("GET", f"/api/streams/{announced_id}")
        check(found["stream_id"] == stream["stream_id"], "the stream behind the announced id", found)
        said = (stream["title"], stream["category"], stream["tags"], stream["language"])
        check(said == (TITLE, "Demo", ["demo", "first"], "en"), "what was announced", said)

    async def rename(self, stream_id: UUID) -> int:
        """Give the running stream another title; how long until the live list has it, in ms."""
        began = time.perf_counter()
        await self._call("PATCH", f"/api/streams/{stream_id}", body={"title": NEW_TITLE})

        async def titles() -> list[str]:
            live = await self._origin.call("GET", "/api/streams?category=Demo")
            return [one["title"] for one in live["items"] if one["stream_id"] == str(stream_id)]

        await eventually("the new title", titles, lambda seen: seen == [NEW_TITLE], within_seconds=SHOWN_SECONDS_MAX)
        return round((time.perf_counter() - began) * 1000)

    async def sit_down(self, stream_id: UUID) -> None:
        """Some players begin to play, and a script that is none."""
        self._watchers = [Watcher() for _ in range(WATCHERS)]
        for watcher in (*self._watchers, self._cheat):
            await self._beat(stream_id, watcher, 1.0)

    async def count(self, stream_id: UUID) -> int:
        """The players say that they still play, the script says so again and again; how many the server counts."""
        early = HEARTBEAT_SECONDS_MIN - (time.monotonic() - self._cheat.said_at)
        await asyncio.sleep(max(0.0, early))
        given = self._cheat.cookie
        for repetition in range(REPETITIONS):
            await self._beat(stream_id, Watcher(), float(repetition))
            await self._beat(stream_id, Watcher(given), 1.0)
        for watcher in self._watchers:
            await self._beat(stream_id, watcher, 12.0)
        counted = max(watcher.counted or 0 for watcher in self._watchers)
        check(counted == WATCHERS, f"{WATCHERS} viewers", counted)

        async def shown() -> list[int]:
            stats = await self._origin.call("GET", f"/api/streams/{stream_id}/stats")
            return [stats["viewers"]]

        await eventually(
            f"{WATCHERS} viewers shown", shown, lambda seen: seen == [WATCHERS], within_seconds=SHOWN_SECONDS_MAX
        )
        return counted

    async def hide(self, stream_id: UUID, stranger: Person) -> int:
        """Make the running stream private for a moment; how long until its address is closed, in ms."""
        path = f"/live/{stream_id}/index.m3u8"
        began = time.perf_counter()
        await self._call("PATCH", f"/api/streams/{stream_id}", body={"visibility": "private"})

        async def status() -> int:
            return (await self._origin.text(path))[0]

        await eventually("a closed address", status, lambda seen: seen == 404, within_seconds=SHOWN_SECONDS_MAX)
        took_ms = round((time.perf_counter() - began) * 1000)
        await self._origin.call("GET", f"/api/streams/{stream_id}", person=stranger, status=404)
        await self._origin.call("POST", f"/api/streams/{stream_id}/playback", person=stranger, body={}, status=404)
        opened = await self._call("POST", f"/api/streams/{stream_id}/playback", body={})
        signed = opened["playback_url"]
        self.secrets.append(signed.split("/")[2])
        answer = await self._origin.text(signed)
        check(answer[0] == 200 and "#EXTINF" in answer[1], "a playlist at the signed address", answer)
        await self._call("PATCH", f"/api/streams/{stream_id}", body={"visibility": "public"})
        await eventually("an open address", status, lambda seen: seen == 200, within_seconds=SHOWN_SECONDS_MAX)
        return took_ms

    async def forget(self) -> int:
        """Somebody follows, and deletes their account; how long until the follow is gone as well, in ms."""
        username, password = f"guest_{secrets.token_hex(4)}", secrets.token_urlsafe(24)
        body = {"username": username, "password": password}
        registered = await self._origin.call("POST", "/api/auth/register", body=body, status=201)
        login = await self._origin.call("POST", "/api/auth/login", body=body)
        guest = Person(UUID(registered["user_id"]), username, login["access_token"], login["refresh_token"])
        self.secrets += [password, guest.access_token, guest.refresh_token]
        followers = f"/api/users/{self._streamer.user_id}/followers"
        await self._origin.call("PUT", f"{followers}/me", person=guest, status=None)

        async def newest() -> list[str]:
            listed = await self._call("GET", f"{followers}?limit=5")
            return [one["user_id"] for one in listed["items"]]

        await eventually(
            "the follow", newest, lambda seen: str(guest.user_id) in seen, within_seconds=SHOWN_SECONDS_MAX
        )
        began = time.perf_counter()
        await self._origin.call("DELETE", "/api/auth/me", person=guest, body={"password": password}, status=None)
        await self._origin.call("POST", "/api/auth/login", body=body, status=401)
        await self._origin.call("GET", f"/api/users/{guest.user_id}/profile", status=404)
        await eventually(
            "no follow", newest, lambda seen: str(guest.user_id) not in seen, within_seconds=FORGOTTEN_SECONDS_MAX
        )
        return round((time.perf_counter() - began) * 1000)

    async def _beat(self, stream_id: UUID, watcher: Watcher, position_seconds: float) -> None:
        url = f"{self._origin.url}/api/streams/{stream_id}/heartbeat"
        headers = {"Cookie": watcher.cookie} if watcher.cookie else {}
        body = {"position_seconds": position_seconds}
        async with self._origin.session.post(url, json=body, headers=headers, timeout=REQUEST_TIMEOUT) as answer:
            if answer.status != 200:
                raise StepFailed("a heartbeat to be taken", f"{answer.status} {(await answer.text())[:300]}")
            watcher.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            watcher.counted = (await answer.json())["viewers"]
        watcher.said_at = time.monotonic()

    async def _call(self, method: str, path: str, *, body: Any = None, status: int | None = 200) -> Any:  # noqa: ANN401  JSON of any shape
        return await self._origin.call(method, path, person=self._streamer, body=body, status=status)
