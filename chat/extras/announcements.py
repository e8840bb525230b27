"""Announcements over HTTP, for bots and pages that have no chat socket."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chat.errors import RoomNotFound, RoomsUnavailable
from chat.moderation import access, audit
from chat.problems import NotAModerator
from chat.rooms.roompath import ChannelPath, RoomMissing
from chat.rooms.rooms import Rooms
from chat.sockets.frames import CLIENT_ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, one_line
from chat.speaking.speaking import Refused, Saying, Speaker, Speaking
from runtime.endpoints import endpoint
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.problems import Conflict, TooManyRequests, Unavailable
from runtime.tokens import Caller


class AnnouncementRefused(Conflict):
    """The room does not take it; `code` says why, as in the chat socket's error frames."""

    type: ClassVar[str] = "announcement-refused"
    title: ClassVar[str] = "The room does not take this announcement"


class NewAnnouncement(BaseModel):
    """What is to be announced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX),
        AfterValidator(one_line),
        Field(description="At most 500 characters, none of them a control character; shown as plain text."),
    ]
    id: Annotated[str, StringConstraints(pattern=rf"^[A-Za-z0-9_.:-]{{1,{CLIENT_ID_CHARACTERS_MAX}}}$")] | None = Field(
        default=None, description="Your own: the same id again within minutes is the same announcement."
    )


class AnnouncedView(BaseModel):
    """The announcement's place in the room."""

    model_config = ConfigDict(frozen=True)

    offset: int
    epoch: str


class AnnouncementApi:
    """Announcing."""

    tag: ClassVar[str] = "chat"

    def __init__(self, pool: Pool, rooms: Rooms, speaking: Speaking) -> None:
        self._pool = pool
        self._rooms = rooms
        self._speaking = speaking

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/announcements",
        status=201,
        problems=(RoomMissing, NotAModerator, AnnouncementRefused, TooManyRequests),
        idempotent=True,
    )
    async def announce(self, caller: Caller, path: ChannelPath, body: NewAnnouncement) -> AnnouncedView:
        """Announce something in a room: a message that stands out. For the streamer and moderators."""
        channel_id = path.channel_id
        async with self._pool.acquire() as connection, connection.transaction():
            await access.require(connection, channel_id, caller)
            await audit.append(connection, channel_id, caller, "announce", particulars={"text": body.text})
        try:
            room = await self._rooms.open(channel_id)
            saying = Saying(body.id or str(uuid7()), body.text, "announcement")
            position = await self._speaking.say(room, Speaker(caller), saying)
        except RoomNotFound as error:
            raise RoomMissing(f"no channel has the id {channel_id}") from error
        except RoomsUnavailable as error:
            raise Unavailable("the rooms cannot be read now") from error
        except Refused as refused:
            raise _problem(refused) from refused
        return AnnouncedView(offset=position.offset, epoch=position.epoch)


def _problem(refused: Refused) -> Unavailable | TooManyRequests | AnnouncementRefused:
    seconds = max(1, -int(-(refused.retry_after_seconds or 1.0) // 1))
    if refused.code == "unavailable":
        return Unavailable(refused.detail, retry_after_seconds=seconds)
    if refused.code in ("rate-limited", "slow-mode"):
        return TooManyRequests(refused.detail, retry_after_seconds=seconds)
    return AnnouncementRefused(refused.detail, code=refused.code)
