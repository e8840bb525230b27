"""Polls and votes in Postgres: one poll a room at a time, one vote a person, which may change until the end.

Nothing of a poll is kept in a process: it ends, and new votes are told of, by the clock of the database (`deadlines`).
"""

from collections.abc import Sequence
from uuid import UUID

import structlog
from asyncpg import UniqueViolationError
from pydantic import JsonValue

from chat import metrics
from chat.moderation import access, audit
from chat.polls.problems import PollIsOver, PollNotFound, PollRuns, SilencedHere
from chat.rooms.facts import PollView
from chat.rooms.signals import RoomTouched, Signals
from chat.store import QUERIES, poll_view, touch_room
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.problems import ValidationFailed
from runtime.tokens import Caller

log = structlog.get_logger(__name__)


class Polls:
    """Starts and ends polls, takes votes."""

    def __init__(self, pool: Pool, signals: Signals) -> None:
        self._pool = pool
        self._signals = signals

    async def start(
        self, caller: Caller, channel_id: UUID, question: str, options: Sequence[str], seconds: int
    ) -> PollView:
        """Start a poll. Raises RoomMissing, NotAModerator, PollRuns."""
        poll_id = uuid7()
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await access.require(connection, channel_id, caller)
                await touch_room(connection, channel_id)
                await QUERIES.start_poll(
                    connection,
                    poll_id=poll_id,
                    channel_id=channel_id,
                    question=question,
                    options=list(options),
                    started_by=caller.user_id,
                    seconds=float(seconds),
                )
                particulars: dict[str, JsonValue] = {"poll_id": str(poll_id), "seconds": seconds}
                await audit.append(connection, channel_id, caller, "start-poll", particulars=particulars)
        except UniqueViolationError as error:
            raise PollRuns("end the poll that runs, or wait for its end") from error
        self._signals.touch(channel_id, RoomTouched())
        metrics.polls_started.inc()
        return await self.find(channel_id, poll_id)

    async def vote(self, channel_id: UUID, poll_id: UUID, user_id: UUID, option: int) -> None:
        """Vote for an option (from 0), in the place of what one voted before.

        Raises PollNotFound, PollIsOver, SilencedHere.
        """
        row = await QUERIES.vote(self._pool, channel_id=channel_id, poll_id=poll_id, user_id=user_id, option=option)
        if row is None:
            raise PollNotFound(f"the room has no poll {poll_id}")
        if not row["running"]:
            raise PollIsOver("this poll takes no more votes")
        if row["silenced"]:
            raise SilencedHere("whoever is banned or timed out has no vote")
        if not row["voted"]:
            message = f"this poll has the options 0 to {row['options'] - 1}"
            raise ValidationFailed(message, errors=[{"field": "body.option", "message": message}])
        metrics.votes.inc()

    async def end(self, caller: Caller, channel_id: UUID, poll_id: UUID) -> PollView:
        """End a poll before its time. Raises RoomMissing, NotAModerator, PollNotFound, PollIsOver."""
        async with self._pool.acquire() as connection, connection.transaction():
            await access.require(connection, channel_id, caller)
            await touch_room(connection, channel_id)
            ended = await QUERIES.end_poll(connection, channel_id=channel_id, poll_id=poll_id)
            if ended is not None:
                await audit.append(connection, channel_id, caller, "end-poll", particulars={"poll_id": str(poll_id)})
        poll = await self.find(channel_id, poll_id)
        if ended is None:
            raise PollIsOver("this poll has ended already")
        self._signals.touch(channel_id, RoomTouched())
        return poll

    async def find(self, channel_id: UUID, poll_id: UUID) -> PollView:
        """A poll with its votes. Raises PollNotFound."""
        row = await QUERIES.find_poll(self._pool, channel_id=channel_id, poll_id=poll_id)
        if row is None:
            raise PollNotFound(f"the room has no poll {poll_id}")
        return poll_view(row)

    async def vote_of(self, poll_id: UUID, user_id: UUID) -> int | None:
        """What somebody voted, or None."""
        row = await QUERIES.find_vote(self._pool, poll_id=poll_id, user_id=user_id)
        return None if row is None else row["option"]

    async def page(self, channel_id: UUID, *, before: UUID, rows_max: int) -> Sequence[PollView]:
        """A room's polls, the newest first."""
        rows = await QUERIES.list_polls(self._pool, channel_id=channel_id, before=before, rows_max=rows_max)
        return [poll_view(row) for row in rows]
