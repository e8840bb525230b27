"""Polls over HTTP; what is new in them, a room's members hear as `poll` frames."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chat.polls.problems import PollIsOver, PollNotFound, PollRuns, SilencedHere
from chat.polls.store import Polls
from chat.problems import NotAModerator
from chat.rooms.directory import Directory
from chat.rooms.facts import PollView
from chat.rooms.roompath import ChannelPath, RoomMissing, room_of
from chat.sockets.frames import one_line
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.tokens import Caller

QUESTION_CHARACTERS_MAX = 140
OPTION_CHARACTERS_MAX = 60
OPTIONS_MIN = 2
OPTIONS_MAX = 10
POLL_SECONDS_MIN = 15
POLL_SECONDS_MAX = 1_800
LAST_ID = UUID(int=(1 << 128) - 1)


def _different(options: list[str]) -> list[str]:
    if len({option.casefold() for option in options}) != len(options):
        raise ValueError("the options must be different")
    return options


Option = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=OPTION_CHARACTERS_MAX),
    AfterValidator(one_line),
]


class NewPoll(BaseModel):
    """A question, and for how long it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=QUESTION_CHARACTERS_MAX),
        AfterValidator(one_line),
    ]
    options: Annotated[list[Option], Field(min_length=OPTIONS_MIN, max_length=OPTIONS_MAX), AfterValidator(_different)]
    seconds: int = Field(
        default=60, ge=POLL_SECONDS_MIN, le=POLL_SECONDS_MAX, description="It ends by itself after these."
    )


class Vote(BaseModel):
    """What somebody votes for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    option: int = Field(ge=0, lt=OPTIONS_MAX, description="Which option, counted from 0.")


class PollPath(ChannelPath):
    """Which poll of which room."""

    poll_id: UUID


class VoteView(BaseModel):
    """A poll, and what the caller voted for."""

    model_config = ConfigDict(frozen=True)

    poll: PollView
    your_option: int | None = Field(description="Counted from 0; null: you have not voted.")


class PollsPage(BaseModel):
    """Some polls of a room, the newest first."""

    model_config = ConfigDict(frozen=True)

    items: list[PollView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")


class PollApi:
    """Polls of rooms."""

    tag: ClassVar[str] = "chat"

    def __init__(self, polls: Polls, directory: Directory) -> None:
        self._polls = polls
        self._directory = directory

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/polls",
        status=201,
        problems=(RoomMissing, NotAModerator, PollRuns),
        idempotent=True,
    )
    async def start_poll(self, caller: Caller, path: ChannelPath, body: NewPoll) -> PollView:
        """Ask the room a question. For the streamer and moderators; one poll runs at a time."""
        return await self._polls.start(caller, path.channel_id, body.question, body.options, body.seconds)

    @endpoint("GET", "/api/chat/{channel_id}/polls", problems=(RoomMissing,))
    async def list_polls(self, path: ChannelPath, query: PageQuery) -> PollsPage:
        """List a room's polls with their results, the newest first."""
        await room_of(self._directory, path.channel_id)
        before = LAST_ID if query.cursor is None else decode_cursor(query.cursor, UUID)[0]
        # One more than asked for tells whether there is a next page.
        found = await self._polls.page(path.channel_id, before=before, rows_max=query.limit + 1)
        shown = list(found[: query.limit])
        more = len(found) > query.limit
        return PollsPage(items=shown, next_cursor=encode_cursor(shown[-1].poll_id) if more else None)

    @endpoint("GET", "/api/chat/{channel_id}/polls/{poll_id}", problems=(PollNotFound,))
    async def get_poll(self, caller: Caller | None, path: PollPath) -> VoteView:
        """Get a poll with its votes, and what you voted."""
        poll = await self._polls.find(path.channel_id, path.poll_id)
        option = None if caller is None else await self._polls.vote_of(path.poll_id, caller.user_id)
        return VoteView(poll=poll, your_option=option)

    @endpoint(
        "PUT",
        "/api/chat/{channel_id}/polls/{poll_id}/votes",
        problems=(PollNotFound, PollIsOver, SilencedHere),
    )
    async def vote(self, caller: Caller, path: PollPath, body: Vote) -> None:
        """Vote, or change your vote, until the poll ends. Everybody has one vote; it is seen within two seconds."""
        await self._polls.vote(path.channel_id, path.poll_id, caller.user_id, body.option)

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/polls/{poll_id}/end",
        problems=(RoomMissing, NotAModerator, PollNotFound, PollIsOver),
        idempotent=True,
    )
    async def end_poll(self, caller: Caller, path: PollPath) -> PollView:
        """End a poll before its time; its result stays. For the streamer and moderators."""
        return await self._polls.end(caller, path.channel_id, path.poll_id)
