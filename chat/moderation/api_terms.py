"""Blocked terms over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chat.moderation.access import require
from chat.moderation.terms import TERM_CHARACTERS_MAX, normal_term
from chat.moderation.terms_store import BlockedTerms, list_terms
from chat.problems import BlockedTermNotFound, NotAModerator, TooManyBlockedTerms
from chat.rooms.roompath import ChannelPath, RoomMissing
from chat.sockets.frames import printable
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller


def _usable(term: str) -> str:
    if not printable(term):
        raise ValueError("control characters are not allowed")
    normal_term(term)
    return term.strip()


class NewTerm(BaseModel):
    """A term that is not to be said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    term: Annotated[str, StringConstraints(min_length=1, max_length=TERM_CHARACTERS_MAX), AfterValidator(_usable)] = (
        Field(description="Whole words, in this order; a * at the beginning or end stands for the rest of a word.")
    )
    hold: bool = Field(default=False, description="Messages with it wait for a moderator instead of being refused.")


class TermView(BaseModel):
    """A term on a room's list."""

    model_config = ConfigDict(from_attributes=True)

    term_id: UUID
    term: str
    hold: bool
    added_at: datetime


class TermsView(BaseModel):
    """A page of a room's blocked terms, in the order of the alphabet."""

    items: list[TermView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class TermPath(ChannelPath):
    """Which term of which room."""

    term_id: UUID


class BlockedTermsApi:
    """What may not be said."""

    tag = "chat-moderation"

    def __init__(self, pool: Pool, terms: BlockedTerms) -> None:
        self._pool = pool
        self._terms = terms

    @endpoint("GET", "/api/chat/{channel_id}/blocked-terms", problems=(RoomMissing, NotAModerator))
    async def list_blocked_terms(self, caller: Caller, path: ChannelPath, query: PageQuery) -> TermsView:
        """The room's blocked terms."""
        await require(self._pool, path.channel_id, caller)
        after = decode_cursor(query.cursor, str)[0] if query.cursor else ""
        found = await list_terms(self._pool, path.channel_id, after=after, items_max=query.limit + 1)
        shown = found[: query.limit]
        return TermsView(
            items=[TermView.model_validate(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].folded) if len(found) > query.limit else None,
        )

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/blocked-terms",
        problems=(RoomMissing, NotAModerator, TooManyBlockedTerms),
        status=201,
        idempotent=True,
    )
    async def add_blocked_term(self, caller: Caller, path: ChannelPath, body: NewTerm) -> TermView:
        """Block a term. Case, accents, invisible characters and letters that look alike make no difference."""
        return TermView.model_validate(await self._terms.add(caller, path.channel_id, body.term, hold=body.hold))

    @endpoint(
        "DELETE",
        "/api/chat/{channel_id}/blocked-terms/{term_id}",
        problems=(RoomMissing, NotAModerator, BlockedTermNotFound),
    )
    async def remove_blocked_term(self, caller: Caller, path: TermPath) -> None:
        """Let a term be said again."""
        await self._terms.remove(caller, path.channel_id, path.term_id)
