"""What happens in chat rooms. A room's id is its channel's, and all of one room keeps its order."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field, PositiveInt

from events.envelope import Event


class SaidAs(StrEnum):
    """How something was said in a room."""

    MESSAGE = "message"
    """As a message."""
    ACTION = "action"
    """As what the person does (`/me`)."""
    ANNOUNCEMENT = "announcement"
    """To everybody, and shown as such."""
    SYSTEM = "system"
    """By the room itself, of something that a person did: "bob follows now"."""


class ChatMessageSent(Event):
    """Something was said in a room, and everybody there was told. Said once, in the order of the room."""

    type: ClassVar[str] = "chat-message.sent"

    channel_id: UUID
    message_id: UUID
    user_id: UUID
    """Whose message it is; of what the system says, whose doing."""
    username: str
    text: str
    kind: SaidAs
    sent_at: AwareDatetime
    offset: PositiveInt
    """Its place in the room. Deletions and what is only shown have places too, so numbers are missing here."""
    epoch: Annotated[str, Field(min_length=1)]
    """Offsets of one epoch ascend; another epoch counts anew."""
    stream_id: UUID | None
    """The stream that was live then; None: none was."""

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.message_id)
