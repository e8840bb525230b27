"""Makes the entry of what somebody says: who they are in the room, and what the text refers to."""

from datetime import UTC, datetime

from chat.entries import REPLIED_CHARACTERS_MAX, RepliedTo, Said, to_body
from chat.room import Room
from chat.speaking import Refused, Saying
from chat.standing import Standing
from runtime.tokens import Caller


class EntryComposer:
    """Puts together a message, action or announcement."""

    async def compose(self, room: Room, speaker: Caller, standing: Standing, saying: Saying) -> bytes:
        """The entry's body; raises Refused when what it answers to is not there."""
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
