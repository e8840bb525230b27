"""What a big room needs, seen from outside: moderation that all see at once, a poll, a bot by IRC, and the log."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import aiohttp

from console.demo.cast import Cast
from console.demo.listeners import ChatViewer
from console.demo.people import Origin, Person
from console.demo.steps import StepFailed, check, eventually

SEEN_SECONDS_MAX = 30.0
TIMEOUT_SECONDS = 600
SLOW_SECONDS = 30
LOGGED_SECONDS_MAX = 30.0
CLOCKS_SECONDS_MAX = 3.0  # a gateway that is paused between its look at the clock and its turn
IRC_ANSWER_SECONDS_MAX = 30.0


class Chatting:
    """The chat of the story after everybody has said hello. The viewers are those of the cast."""

    def __init__(self, origin: Origin, cast: Cast) -> None:
        self._origin = origin
        self._cast = cast
        self._path = f"/api/chat/{cast.streamer.user_id}"
        self.secrets: list[str] = []
        self.taken_away: set[str] = set()
        """Texts that nobody may find any more."""
        self.stays: list[str] = []
        """Texts that are there for good, besides the hellos."""

    async def moderate(self) -> int:
        """A moderator deletes a message and times somebody out; returns how long until everybody saw it, in ms."""
        moderator, spammer, rude = self._cast.viewers[0], self._cast.viewers[1], self._cast.viewers[2]
        await self._call("PUT", f"moderators/{moderator.person.user_id}", self._cast.streamer)
        await self._say(spammer, "spam", "buy followers at a place nobody knows")
        said = await self._say(rude, "rude", "a rude word")
        began = time.perf_counter()
        await self._call("DELETE", f"messages/{said['message_id']}", moderator.person)
        await self._call("PUT", f"bans/{spammer.person.user_id}", moderator.person, body={"seconds": TIMEOUT_SECONDS})
        await self._everybody_sees("deleted", "message_id", said["message_id"])
        await self._everybody_sees("cleared", "user_id", str(spammer.person.user_id))
        took_ms = round((time.perf_counter() - began) * 1000)
        self.taken_away |= {"buy followers at a place nobody knows", "a rude word"}
        await self._is_refused(spammer, "spam-again", "more spam", "timed-out")
        return took_ms

    async def slow_down(self) -> None:
        """Slow mode holds for everybody but moderators, until it is off again."""
        await self._call("PATCH", "settings", self._cast.streamer, body={"slow_seconds": SLOW_SECONDS})
        eager = self._cast.viewers[3]
        await eventually("the rules at every viewer", self._rules_seen, bool, within_seconds=SEEN_SECONDS_MAX)
        self.stays.append("one at a time")
        await self._say(eager, "slow-1", "one at a time")
        await self._is_refused(eager, "slow-2", "and at once another", "slow-mode")
        await self._call("PATCH", "settings", self._cast.streamer, body={"slow_seconds": 0})

    async def poll(self) -> int:
        """Viewers vote, and everybody sees the count; returns it."""
        question: dict[str, object] = {"question": "Red or blue?", "options": ["red", "blue"], "seconds": 60}
        poll = await self._call("POST", "polls", self._cast.streamer, body=question, status=201)
        voters = self._cast.viewers[4:14]
        path = f"polls/{poll['poll_id']}"
        votes = [
            self._call("PUT", f"{path}/votes", voter.person, body={"option": number % 2}, status=None)
            for number, voter in enumerate(voters)
        ]
        await asyncio.gather(*votes)

        async def counted() -> int:
            polls = [viewer.newest("poll") for viewer in self._cast.viewers]
            return min(sum(option["votes"] for option in seen["poll"]["options"]) if seen else 0 for seen in polls)

        await eventually("all votes at every viewer", counted, lambda n: n == len(voters), within_seconds=30)
        await self._call("POST", f"{path}/end", self._cast.streamer, status=None)
        return len(voters)

    async def irc(self) -> None:
        """A bot comes in by IRC with a password of its own, hears a viewer and is heard by all."""
        owner, viewer = self._cast.viewers[5], self._cast.viewers[6]
        made = await self._origin.call(
            "POST", "/api/chat/irc-passwords", person=owner.person, body={"name": "demo bot"}, status=201
        )
        self.secrets.append(made["password"])
        async with self._origin.session.ws_connect(f"{self._origin.url}/chat/irc", protocols=("irc",)) as socket:
            bot = IrcBot(socket, owner.person, channel=self._cast.streamer.username)
            await bot.come_in(made["password"])
            await self._say(viewer, "to-bot", "hello bot")
            await bot.hears(viewer.person.username, "hello bot")
            await bot.says("hello viewers")
            await self._everybody_sees("message", "text", "hello viewers")
        self.stays += ["hello bot", "hello viewers"]

    async def log(self, stream_id: UUID | None) -> int:
        """What was said plays beside the recording, and what was deleted is nowhere; returns the number of messages."""

        items: list[dict[str, Any]] = []

        async def replayed() -> int:
            answer = await self._origin.call("GET", f"/api/archives/{stream_id}/chat?limit=100")
            items[:] = [item for item in answer["items"] if item["kind"] == "message"]
            return len(items)

        # What the spammer had said before went with the rest of it.
        wanted = len(self._cast.viewers) - 1 + len(self.stays)
        await eventually(
            f"{wanted} messages beside the recording",
            replayed,
            lambda found: found >= wanted,
            within_seconds=LOGGED_SECONDS_MAX,
        )
        texts = [item["text"] for item in items]
        check(len(items) == wanted, f"{wanted} messages", texts)
        check(not self.taken_away & set(texts), "nothing that was deleted", texts)
        spammer = str(self._cast.viewers[1].person.user_id)
        check(all(item["user_id"] != spammer for item in items), "nothing of the spammer's", texts)
        times = [item["at_seconds"] for item in items]
        # Their order is the room's; the times are those of the gateways that took them, which differ by milliseconds.
        back = max(before - after for before, after in pairwise(times))
        check(back <= CLOCKS_SECONDS_MAX and times[0] > 0, "the order of the recording", times)
        found = await self._origin.call("GET", f"{self._path}/messages?q=viewers")
        check([item["text"] for item in found["items"]] == ["hello viewers"], "the bot's message by search", found)
        return len(items)

    # --- what is looked at --------------------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        rest: str,
        person: Person,
        *,
        body: dict[str, object] | None = None,
        status: int | None = None,
    ) -> dict[str, Any]:
        answer = await self._origin.call(method, f"{self._path}/{rest}", person=person, body=body, status=status)
        return answer or {}

    async def _say(self, viewer: ChatViewer, client_id: str, text: str) -> dict[str, Any]:
        await viewer.say(client_id, text)

        async def seen() -> dict[str, Any] | None:
            return next((entry for entry in viewer.entries if entry.get("text") == text), None)

        said = await eventually(f"“{text}” in the room", seen, bool, within_seconds=SEEN_SECONDS_MAX)
        assert said is not None  # noqa: S101 -- eventually saw it
        return said

    async def _is_refused(self, viewer: ChatViewer, client_id: str, text: str, code: str) -> None:
        await viewer.say(client_id, text)

        async def refusal() -> str | None:
            return next((error["code"] for error in viewer.errors if error.get("id") == client_id), None)

        found = await eventually(f"“{text}” to be refused", refusal, bool, within_seconds=SEEN_SECONDS_MAX)
        check(found == code, code, found)

    async def _everybody_sees(self, kind: str, field: str, value: str) -> None:
        async def blind() -> int:
            return sum(
                not any(entry["kind"] == kind and entry.get(field) == value for entry in viewer.entries)
                for viewer in self._cast.viewers
                if not (kind == "message" and viewer is self._cast.viewers[5])
            )

        await eventually(f"{kind} at every viewer", blind, lambda n: n == 0, within_seconds=SEEN_SECONDS_MAX)

    async def _rules_seen(self) -> bool:
        seen = [viewer.newest("rules") for viewer in self._cast.viewers]
        return all(frame and frame["rules"]["slow_seconds"] == SLOW_SECONDS for frame in seen)


class IrcBot:
    """A bot of few words, on Twitch's dialect of IRC over WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, person: Person, *, channel: str) -> None:
        self._socket = socket
        self._person = person
        self._channel = channel

    async def come_in(self, password: str) -> None:
        """Log in and join the channel."""
        await self._tell("CAP REQ :twitch.tv/tags twitch.tv/commands", f"PASS oauth:{password}")
        await self._tell(f"NICK {self._person.username}", f"JOIN #{self._channel}")
        await self._until(lambda line: " 366 " in line, f"the end of the names of #{self._channel}")

    async def says(self, text: str) -> None:
        """Say something in the channel."""
        await self._tell(f"PRIVMSG #{self._channel} :{text}")

    async def hears(self, username: str, text: str) -> None:
        """Wait until somebody has said something."""
        await self._until(
            lambda line: f":{username}!" in line and line.endswith(f"PRIVMSG #{self._channel} :{text}"),
            f"“{text}” by IRC",
        )

    async def _tell(self, *lines: str) -> None:
        for line in lines:
            await self._socket.send_str(f"{line}\r\n")

    async def _until(self, wanted: Callable[[str], bool], what: str) -> None:
        heard: list[str] = []
        try:
            async with asyncio.timeout(IRC_ANSWER_SECONDS_MAX):
                while True:
                    for line in str(await self._socket.receive_str()).splitlines():
                        heard.append(line)
                        if wanted(line):
                            return
        except (TimeoutError, TypeError) as error:
            raise StepFailed(what, heard[-5:]) from error
