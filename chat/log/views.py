"""A message of the log as history, search and replays show it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chat.log.store import Message
from chat.rooms.entries import EmoteUse, Mention, Role


class AnsweredView(BaseModel):
    """The message that one answers to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: UUID
    user_id: UUID
    username: str
    text: str | None = Field(description="Null when it is not kept any more, or was taken back.")


class MessageView(BaseModel):
    """Something that was said in a room."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: UUID
    user_id: UUID
    username: str = Field(description="The name that the person had then.")
    text: str
    kind: Literal["message", "action", "announcement", "system"]
    role: Role = Field(description="What the person was in this room then.")
    sent_at: datetime
    offset: int = Field(description="Its place in the room, within its epoch.")
    epoch: str
    stream_id: UUID | None = Field(description="The stream that was live; null: none.")
    reply_to: AnsweredView | None
    mentions: list[Mention]
    emotes: list[EmoteUse]


def message_view(message: Message) -> MessageView:
    """What is shown of a message."""
    return MessageView.model_validate(message_members(message))


def message_members(message: Message) -> dict[str, object]:
    """The members of `MessageView`."""
    kept = message.particulars
    answered = kept.get("reply_to")
    return {
        "message_id": message.message_id,
        "user_id": message.user_id,
        "username": message.username,
        "text": message.text,
        "kind": message.kind,
        "role": kept.get("role", "viewer"),
        "sent_at": message.sent_at,
        "offset": message.offset,
        "epoch": message.epoch,
        "stream_id": message.stream_id,
        "reply_to": None if answered is None else {"text": None, **answered},
        "mentions": kept.get("mentions", []),
        "emotes": kept.get("emotes", []),
    }
