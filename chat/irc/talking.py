"""What an IRC client says in a channel: messages, actions, and the commands that begin with a slash."""

import re
from typing import Final, Literal, Protocol
from uuid import UUID, uuid4

from chat.irc import replies
from chat.irc.client import Client
from chat.irc.endings import QUIT, Ending
from chat.irc.joined import Joined, JoinedRooms
from chat.irc.lines import Line
from chat.irc.replies import Told
from chat.sockets.frames import TEXT_CHARACTERS_MAX
from chat.speaking.speaking import Refused, Saying, Speaking

Kind = Literal["message", "action", "announcement"]

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ACTION: Final = "\x01ACTION "


class Commands(Protocol):
    """Knows the commands and does them (`commands.ModeratorCommands`)."""

    def read(self, text: str) -> tuple[str | None, str]:
        """The command in a text and what follows it; None if it is a message."""
        ...

    async def run(self, client: Client, joined: Joined, name: str, rest: str) -> None:
        """Do it, and tell the client how that went."""
        ...


class Talking:
    """Takes a `PRIVMSG` where it belongs."""

    def __init__(self, speaking: Speaking, commands: Commands) -> None:
        self._speaking = speaking
        self._commands = commands

    async def take(self, client: Client, rooms: JoinedRooms, joined: Joined, received: Line) -> Ending | None:
        """Say it or do it, and tell the client how that went; an ending if that is what it asked for."""
        text = received.param(1)
        if text.startswith("\x01"):
            if text.startswith(_ACTION):
                await self._say(client, rooms, joined, "action", text.removeprefix(_ACTION), received)
            return None
        words = _cleaned(text)
        name, rest = self._commands.read(words)
        if name is None:
            await self._say(client, rooms, joined, "message", words, received)
        elif name == "me":
            await self._say(client, rooms, joined, "action", rest, received)
        elif name == "announce":
            await self._say(client, rooms, joined, "announcement", rest, received)
        elif name == "disconnect":
            return QUIT
        else:
            await self._commands.run(client, joined, name, rest)
        return None

    async def _say(
        self, client: Client, rooms: JoinedRooms, joined: Joined, kind: Kind, text: str, received: Line
    ) -> None:
        words = _cleaned(text)
        speaker = joined.speaker
        if speaker is None:
            _tell(client, joined, Told("msg_banned", "You came to read only: log in to write."))
            return
        if not words:
            return
        if len(words) > TEXT_CHARACTERS_MAX:
            _tell(client, joined, Told("msg_rejected_mandatory", f"At most {TEXT_CHARACTERS_MAX} characters."))
            return
        try:
            saying = Saying(uuid4().hex, words, kind, _parent(received))
        except ValueError:
            _tell(client, joined, Told("msg_rejected_mandatory", "reply-parent-msg-id is no id of a message."))
            return
        if kind != "announcement":
            joined.saying(saying.message_id)
        try:
            await self._speaking.say(joined.room, speaker, saying)
        except Refused as refused:
            joined.seat.said.discard(saying.message_id)
            _tell(client, joined, replies.refusal(refused, joined.room.facts.rules))
        else:
            client.tell(rooms.user_state(joined, saying.message_id))


def _tell(client: Client, joined: Joined, told: Told) -> None:
    client.notice(joined.channel, told.text, told.msg_id)


def _parent(received: Line) -> UUID | None:
    """What a message answers to; raises ValueError."""
    parent = received.tags.get("reply-parent-msg-id")
    return UUID(parent) if parent else None


def _cleaned(text: str) -> str:
    """Without the codes that stock clients put in for colours, and without anything else that nobody sees."""
    return _CONTROLS.sub("", text).strip()
