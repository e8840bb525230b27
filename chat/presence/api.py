"""A room over HTTP: what it is now, and who is in it."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chat.brokers.broker import Broker
from chat.errors import BrokerUnavailable
from chat.presence.presence import Presence, PresentPage
from chat.rooms.directory import Directory
from chat.rooms.entries import Role, Said
from chat.rooms.facts import PollView
from chat.rooms.roompath import ChannelPath, RoomMissing, room_of
from chat.rooms.rooms import COUNT_BELIEVED_SECONDS, Rooms
from chat.speaking.rules import Rules
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.problems import Unavailable

READER = "http"
"""The name under which a gateway asks for the number of connections to rooms that it does not have open."""


class RoomView(BaseModel):
    """A channel's chat room."""

    model_config = ConfigDict(frozen=True)

    channel_id: UUID
    channel_name: str
    live_stream_id: UUID | None = Field(description="The stream that runs now; null: none does.")
    rules: Rules
    pinned: Said | None = Field(description="The message that is pinned above the others.")
    poll: PollView | None = Field(description="The running poll, or one that has just ended.")
    connections: int | None = Field(description="Open connections, also of people who only read; null: not known now.")
    chatters: int | None = Field(description="People who are logged in and here; null: not known now.")


class ChatterView(BaseModel):
    """Somebody who is in a room now."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID
    username: str
    role: Role


class ChattersQuery(PageQuery):
    """Which chatters."""

    q: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,30}$", to_lower=True)] | None = Field(
        default=None, description="Only those whose name begins so."
    )


class ChattersPage(BaseModel):
    """Some of those who are in a room, by name."""

    model_config = ConfigDict(frozen=True)

    items: list[ChatterView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")
    chatters: int = Field(description="How many they are in all, whatever was asked for.")


class RoomApi:
    """Rooms by channel."""

    tag: ClassVar[str] = "chat"

    def __init__(self, directory: Directory, rooms: Rooms, broker: Broker, presence: Presence) -> None:
        self._directory = directory
        self._rooms = rooms
        self._broker = broker
        self._presence = presence

    @endpoint("GET", "/api/chat/{channel_id}", problems=(RoomMissing,))
    async def get_room(self, path: ChannelPath) -> RoomView:
        """Get a channel's chat room: its rules, what is pinned, the running poll, and how many are here."""
        facts = await room_of(self._directory, path.channel_id)
        try:
            connections: int | None = await self._connections(path.channel_id)
            chatters: int | None = (await self._presence.page(path.channel_id, people_max=0)).chatters
        except BrokerUnavailable:
            connections = chatters = None
        return RoomView(
            channel_id=facts.channel_id,
            channel_name=facts.channel_name,
            live_stream_id=facts.live_stream_id,
            rules=facts.rules,
            pinned=facts.pinned,
            poll=facts.poll,
            connections=connections,
            chatters=chatters,
        )

    @endpoint("GET", "/api/chat/{channel_id}/chatters", problems=(RoomMissing,))
    async def list_chatters(self, path: ChannelPath, query: ChattersQuery) -> ChattersPage:
        """List the people who are logged in and in a room now, over all gateways, by name.

        Whoever comes is here within two seconds; whoever leaves, or whose gateway dies, is gone within half a minute.
        """
        await room_of(self._directory, path.channel_id)
        after = None if query.cursor is None else decode_cursor(query.cursor, str, UUID)
        # One more than asked for tells whether there is a next page.
        page = await self._page(path.channel_id, after, query.q or "", query.limit + 1)
        shown = page.people[: query.limit]
        more = len(page.people) > query.limit
        return ChattersPage(
            items=[ChatterView(user_id=p.user_id, username=p.username, role=p.role) for p in shown],
            next_cursor=encode_cursor(shown[-1].username, shown[-1].user_id) if more else None,
            chatters=page.chatters,
        )

    async def _page(self, room: UUID, after: tuple[str, UUID] | None, prefix: str, people_max: int) -> PresentPage:
        try:
            return await self._presence.page(room, after=after, prefix=prefix, people_max=people_max)
        except BrokerUnavailable as error:
            raise Unavailable("who is in the room is not known now") from error

    async def _connections(self, room: UUID) -> int:
        for open_room in self._rooms.open_rooms():
            if open_room.room_id == room:
                return max(open_room.chatters, open_room.members_count)
        return (await self._broker.count_members(READER, {room: 0}, seconds=COUNT_BELIEVED_SECONDS))[room]
