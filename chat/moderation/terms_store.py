"""A room's list of blocked terms in Postgres."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chat import store
from chat.moderation import access, audit
from chat.moderation.terms import TERMS_MAX, normal_term
from chat.problems import BlockedTermNotFound, TooManyBlockedTerms
from chat.rooms.signals import RoomTouched, Signals
from eventbus.outbox import Outbox
from runtime.ids import uuid7
from runtime.postgres import Pool, load_queries
from runtime.tokens import Caller

QUERIES = load_queries("chat")


@dataclass(frozen=True, slots=True)
class ListedTerm:
    """A term on a room's list."""

    term_id: UUID
    term: str
    folded: str
    hold: bool
    added_at: datetime


async def list_terms(pool: Pool, channel_id: UUID, *, after: str, items_max: int) -> list[ListedTerm]:
    """A room's terms in the order of the alphabet."""
    rows = await QUERIES.list_blocked_terms(pool, channel_id=channel_id, after=after, items_max=items_max)
    return [ListedTerm(**row) for row in rows]


class BlockedTerms:
    """Changes the lists. Each raises RoomMissing or NotAModerator."""

    def __init__(self, outbox: Outbox, signals: Signals) -> None:
        self._outbox = outbox
        self._signals = signals

    async def add(self, caller: Caller, channel_id: UUID, term: str, *, hold: bool) -> ListedTerm:
        """Block a term; one that is blocked already is refused or held as said now.

        Raises TooManyBlockedTerms, and TermNotUsable for one that `normal_term` does not take.
        """
        folded = normal_term(term)
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller)
            await QUERIES.moderate_alone(connection, channel_id=channel_id)
            row = await QUERIES.add_blocked_term(
                connection,
                term_id=uuid7(),
                channel_id=channel_id,
                term=term,
                folded=folded,
                hold=hold,
                added_by=caller.user_id,
                terms_max=TERMS_MAX,
            )
            if row is None:
                raise TooManyBlockedTerms(f"a room has at most {TERMS_MAX} terms", blocked_terms_max=TERMS_MAX)
            await store.touch_room(connection, channel_id)
            await audit.append(connection, channel_id, caller, "block-term", particulars={"term": term, "hold": hold})
            transaction.after_commit(lambda: self._signals.touch(channel_id, RoomTouched()))
        return ListedTerm(folded=folded, **row)

    async def remove(self, caller: Caller, channel_id: UUID, term_id: UUID) -> None:
        """Let a term be said again; raises BlockedTermNotFound."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            await access.require(connection, channel_id, caller)
            term = await QUERIES.remove_blocked_term(connection, channel_id=channel_id, term_id=term_id)
            if term is None:
                raise BlockedTermNotFound("this room has no blocked term of this id")
            await store.touch_room(connection, channel_id)
            await audit.append(connection, channel_id, caller, "unblock-term", particulars={"term": term})
            transaction.after_commit(lambda: self._signals.touch(channel_id, RoomTouched()))
