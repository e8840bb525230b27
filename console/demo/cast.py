"""The cast: a streamer, thousands of followers of old, and an audience of real accounts that listens and chats."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from console.demo.listeners import ChatViewer, NoticeListener
from console.demo.people import Origin, Person
from console.demo.steps import eventually
from console.seed_followers import seed_followers

T = TypeVar("T")

FOLLOWERS = 5_000
LISTENERS = 20
BROWSERS = 5
VIEWERS = 50
AT_ONCE = 4  # a password hash keeps a core busy for some 40 ms: more at once would only queue


class Cast:
    """Everybody in the story."""

    streamer: Person
    publish_url: str

    def __init__(self, origin: Origin, postgres_dsn: str) -> None:
        self.followers_wanted = FOLLOWERS
        self.notices_wanted = FOLLOWERS - 1  # one has muted the channel
        self.audience: list[Person] = []
        self.listeners: list[NoticeListener] = []
        self.viewers: list[ChatViewer] = []
        self._origin = origin
        self._postgres_dsn = postgres_dsn
        self._stream_key = ""

    async def hire_streamer(self) -> None:
        """Register the streamer and get the key."""
        self.streamer = await self._origin.register("streamer")
        answer = await self._origin.call("POST", "/api/channels/me/stream-key", person=self.streamer, status=201)
        self._stream_key = answer["stream_key"]
        self.publish_url = f"{answer['ingest_url']}/{self._stream_key}"

    async def hire_audience(self) -> None:
        """Register the audience; the first 26 follow, and the followers of old are seeded up to 5,000."""
        self.audience = await _few_at_once(self._origin.register("viewer") for _ in range(VIEWERS))
        followers_path = f"/api/users/{self.streamer.user_id}/followers"

        async def known() -> int:
            return (await self._origin.text(followers_path))[0]

        await eventually("the streamer known to notify", known, lambda status: status == 200, within_seconds=30)
        await _few_at_once(
            self._origin.call("PUT", f"{followers_path}/me", person=person, status=204)
            for person in (*self.online, *self.in_browsers, self.muted)
        )
        await seed_followers(self._postgres_dsn, self.streamer.user_id, count=FOLLOWERS - LISTENERS - BROWSERS - 1)

    @property
    def online(self) -> list[Person]:
        """Those who are connected for notices."""
        return self.audience[:LISTENERS]

    @property
    def in_browsers(self) -> list[Person]:
        """Those who are not, and have a browser that is told."""
        return self.audience[LISTENERS : LISTENERS + BROWSERS]

    @property
    def muted(self) -> Person:
        """Who follows, and wants to hear nothing."""
        return self.audience[LISTENERS + BROWSERS]

    async def take_seats(self) -> None:
        """Connect the followers for notices, and everybody to the chat."""
        self.listeners = [NoticeListener(self._origin, person) for person in self.online]
        await asyncio.gather(*(listener.connect() for listener in self.listeners))
        self.viewers = [ChatViewer(self._origin, person, self.streamer.user_id) for person in self.audience]
        await asyncio.gather(*(viewer.join() for viewer in self.viewers))

    async def everybody_speaks(self) -> list[str]:
        """Each viewer says one thing; returns what was said."""
        said = [f"hello from {viewer.person.username}" for viewer in self.viewers]
        await asyncio.gather(*(viewer.say(f"m{n}", said[n]) for n, viewer in enumerate(self.viewers)))
        return said

    def secrets(self) -> list[str]:
        """Every secret that was handed out: none of them may ever be found in a log, a URL, a file name or an event."""
        people = [self.streamer, *self.audience]
        return [self._stream_key, *(p.access_token for p in people), *(p.refresh_token for p in people)]

    async def leave(self) -> None:
        """Everybody goes home."""
        await asyncio.gather(*(listener.close() for listener in self.listeners))
        await asyncio.gather(*(viewer.leave() for viewer in self.viewers))


async def _few_at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(one: Awaitable[T]) -> T:
        async with gate:
            return await one

    return list(await asyncio.gather(*(gated(one) for one in work)))
