"""Makes the entry of what somebody says: who they are in the room, and what the text refers to."""

from datetime import UTC, datetime
from typing import Protocol

from chat.emotes.urls import emotes_in
from chat.rooms.entries import REPLIED_CHARACTERS_MAX, Mention, RepliedTo, Said, to_body
from chat.rooms.room import Room
from chat.speaking.speaking import Refused, Saying
from chat.speaking.standing import Standing
from runtime.tokens import Caller


class FindMentions(Protocol):
    """Finds who is named in a text; must not fail."""

    async def __call__(self, room: Room, text: str) -> tuple[Mention, ...]:
        """Those named, in order."""
        ...


async def nobody(room: Room, text: str) -> tuple[Mention, ...]:
    """Nobody is named; for tests, and for what needs no tables."""
    return ()


class EntryComposer:
    """Puts together a message, action or announcement."""

    def __init__(self, find_mentions: FindMentions = nobody) -> None:
        self._find_mentions = find_mentions

    async def compose(self, room: Room, speaker: Caller, standing: Standing, saying: Saying) -> bytes:
        """The entry's body; raises Refused when what it answers to is not there."""
        mentions = await self._find_mentions(room, saying.text)
        return to_body(
            Said(
                kind=saying.kind,
                message_id=saying.message_id,
                user_id=speaker.user_id,
                username=speaker.name,
                text=saying.text,
                sent_at=datetime.now(UTC),
                role=standing.role,
                reply_to=None if saying.reply_to is None else _replied_to(room, saying),
                mentions=mentions,
                emotes=emotes_in(saying.text, room.facts.emotes),
            )
        )


def _replied_to(room: Room, saying: Saying) -> RepliedTo:
    said = None if saying.reply_to is None else room.find_said(saying.reply_to)
    if said is None:
        raise Refused("reply-not-found", "reply_to: no such message among the newest of this room")
    return RepliedTo(
        message_id=said.message_id,
        user_id=said.user_id,
        username=said.username,
        text=said.text[:REPLIED_CHARACTERS_MAX],
    )
