"""What every endpoint of a room begins with: which channel it is, and that there is such a room."""

from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chat.errors import RoomNotFound, RoomsUnavailable
from chat.rooms.directory import Directory
from chat.rooms.facts import RoomFacts
from runtime.problems import NotFound, Unavailable


class RoomMissing(NotFound):
    """No channel has this id."""

    type: ClassVar[str] = "room-not-found"
    title: ClassVar[str] = "There is no such chat room"


class ChannelPath(BaseModel):
    """Which room."""

    model_config = ConfigDict(frozen=True)

    channel_id: UUID = Field(description="The channel, which is its streamer's user id.")


async def room_of(directory: Directory, channel_id: UUID) -> RoomFacts:
    """What is known of a room; raises RoomMissing, Unavailable."""
    try:
        return await directory.find(channel_id)
    except RoomNotFound as error:
        raise RoomMissing(f"no channel has the id {channel_id}") from error
    except RoomsUnavailable as error:
        raise Unavailable("the rooms cannot be read now") from error
