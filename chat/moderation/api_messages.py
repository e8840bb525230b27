"""Messages taken away over HTTP: one, or all of a room."""

from uuid import UUID

from chat.moderation.actions import Moderation
from chat.problems import NotAModerator
from chat.rooms.roompath import ChannelPath, RoomMissing
from runtime.endpoints import endpoint
from runtime.tokens import Caller


class MessagePath(ChannelPath):
    """Which message of which room."""

    message_id: UUID


class MessagesModerationApi:
    """Deleting and clearing."""

    tag = "chat-moderation"

    def __init__(self, moderation: Moderation) -> None:
        self._moderation = moderation

    @endpoint("DELETE", "/api/chat/{channel_id}/messages/{message_id}", problems=(RoomMissing, NotAModerator))
    async def delete_message(self, caller: Caller, path: MessagePath) -> None:
        """Take a message away: from those who are connected, from history, search and replays."""
        await self._moderation.delete_message(caller, path.channel_id, path.message_id)

    @endpoint("POST", "/api/chat/{channel_id}/clear", problems=(RoomMissing, NotAModerator), idempotent=True)
    async def clear(self, caller: Caller, path: ChannelPath) -> None:
        """Take all messages up to now away."""
        await self._moderation.clear(caller, path.channel_id)
