"""History and search of a room over HTTP: what was said, newest first, by words, by person and by time."""

from typing import Annotated, ClassVar
from uuid import UUID

import asyncpg
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from chat.log import store
from chat.log.store import FIRST_ID, LAST_ID, Wanted
from chat.log.views import MessageView, message_view
from runtime.endpoints import endpoint
from runtime.ids import uuid7_floor
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.problems import Unavailable

WORDS_CHARACTERS_MAX = 100
STATEMENT_MS_MAX = 3_000


def _without_nul(text: object) -> object:
    if isinstance(text, str) and "\x00" in text:
        raise ValueError("must not have a NUL character")
    return text


class SearchTookTooLong(Unavailable):
    """The messages that were looked for are too many, or too far apart."""

    type: ClassVar[str] = "search-took-too-long"
    title: ClassVar[str] = "The search took too long"


class RoomPath(BaseModel):
    """Which room."""

    model_config = ConfigDict(frozen=True)

    channel_id: UUID = Field(description="The room's id, which is its channel's.")


class HistoryQuery(PageQuery):
    """Which messages."""

    q: Annotated[str, BeforeValidator(_without_nul), StringConstraints(max_length=WORDS_CHARACTERS_MAX)] | None = Field(
        default=None,
        min_length=1,
        description='Words that they have, all of them; `"…"`: one after the other; `-word`: without it; `or`: either.',
    )
    user_id: UUID | None = Field(default=None, description="Only what this person said.")
    from_: AwareDatetime | None = Field(default=None, alias="from", description="Said then or later.")
    to: AwareDatetime | None = Field(default=None, description="Said before then.")


class MessagePage(BaseModel):
    """Some messages, newest first."""

    model_config = ConfigDict(frozen=True)

    items: list[MessageView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")


class HistoryApi:
    """What was said in a room."""

    tag = "chat"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/chat/{channel_id}/messages", problems=(SearchTookTooLong,))
    async def list_chat_messages(self, path: RoomPath, query: HistoryQuery) -> MessagePage:
        """What was said in a room, newest first.

        Everybody may read it, as everybody may listen in the room. A message is here about a second after it was sent,
        as long as the room keeps its log; what a moderator took back is not, and is not found either.
        """
        first = FIRST_ID if query.from_ is None else uuid7_floor(query.from_)
        before = LAST_ID if query.to is None else uuid7_floor(query.to)
        if query.cursor is not None:
            before = min(before, decode_cursor(query.cursor, UUID)[0])
        wanted = Wanted(path.channel_id, before, first, query.user_id, query.q)
        try:
            # One more than asked for tells whether there is a next page.
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS_MAX}")
                found = await store.list_messages(connection, wanted, rows_max=query.limit + 1)
        except asyncpg.QueryCanceledError as error:
            raise SearchTookTooLong(
                "ask for a shorter time (`from`, `to`), or for rarer words", retry_after_seconds=10
            ) from error
        shown = found[: query.limit]
        return MessagePage(
            items=[message_view(message) for message in shown],
            next_cursor=encode_cursor(shown[-1].message_id) if len(found) > query.limit else None,
        )
