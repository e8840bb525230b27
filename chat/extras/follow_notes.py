"""Has rooms say who follows their channel now: a line each while they are few, one line for a crowd.

A line is decoration: it waits for nothing. While Redis is away it is not said; one that comes minutes late is not said
either, nor the same person's within an hour. What is counted for the line about a crowd is in memory, and forgotten
with the process.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import structlog

from chat import metrics
from chat.brokers.broker import Allowance, Broker, Conditions, Unique
from chat.errors import BrokerUnavailable, RoomNotFound, RoomsUnavailable, SentBefore, SentTooOften
from chat.rooms.directory import Directory
from chat.rooms.entries import Said, to_body
from eventbus.consume import Subscription
from eventbus.outbox import Transaction
from events import Envelope, FollowCreated
from runtime.ids import uuid7

log = structlog.get_logger(__name__)

GROUP: Final = "chat-follow-notes"
LINES_PER_MINUTE_MAX = 10
MINUTE_SECONDS = 60.0
AGAIN_SECONDS = 3_600.0
"""Whoever leaves and follows again within it is not told of again."""
LATE_SECONDS_MAX = 300.0
PUBLISH_SECONDS_MAX = 1.0
CROWDS_MAX = 10_000
CROWD_LOOK_SECONDS = 1.0

Outcome = Literal["said", "summed-up", "not-said"]


@dataclass
class Crowd:
    """Followers of one channel who were too many to be named."""

    channel_id: UUID
    followers: int
    due_at: float
    last: Said


class FollowNotes:
    """The handler of the consumer group `chat-follow-notes`, and a service that sums crowds up."""

    name = "chat-follow-notes"

    def __init__(
        self,
        broker: Broker,
        directory: Directory,
        *,
        minute_seconds: float = MINUTE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._broker = broker
        self._directory = directory
        self._minute_seconds = minute_seconds
        self._now = now
        self._crowds: dict[UUID, Crowd] = {}

    def subscription(self) -> Subscription:
        """What to listen to."""
        return Subscription(group=GROUP, handlers={FollowCreated: self.on_follow_created})

    async def on_follow_created(self, transaction: Transaction, envelope: Envelope[FollowCreated]) -> None:
        """Somebody follows a channel. Repeated, it is the same line: its id is the event's."""
        metrics.follow_notes.labels(await self._take(envelope)).inc()

    async def run(self) -> None:
        """Sum crowds up, until cancelled."""
        while True:
            await asyncio.sleep(CROWD_LOOK_SECONDS)
            await self.sum_up()

    async def sum_up(self) -> None:
        """Say one line for each crowd whose minute is over; what cannot be said is not."""
        now = _clock()
        for crowd in [crowd for crowd in self._crowds.values() if crowd.due_at <= now]:
            del self._crowds[crowd.channel_id]
            others = crowd.followers - 1
            text = f"{crowd.last.username} and {others} more follow now" if others else _line(crowd.last.username)
            said = crowd.last.model_copy(update={"message_id": uuid7(), "text": text, "sent_at": self._now()})
            try:
                await self._publish(crowd.channel_id, said, Conditions())
            except BrokerUnavailable as error:
                log.info("follow_notes_not_said", channel_id=str(crowd.channel_id), reason=str(error))

    async def _take(self, envelope: Envelope[FollowCreated]) -> Outcome:
        event = envelope.event
        late = self._now() - event.followed_at > timedelta(seconds=LATE_SECONDS_MAX)
        if late or not self._broker.connected or not await self._wanted(event.channel_id):
            return "not-said"
        said = _said(envelope, self._now())
        if event.channel_id in self._crowds:
            return self._join_crowd(event.channel_id, said)
        lines = Allowance("follow-notes", "room", LINES_PER_MINUTE_MAX, self._minute_seconds)
        once = Unique(f"follow:{event.follower_id}", AGAIN_SECONDS)
        try:
            await self._publish(event.channel_id, said, Conditions((lines,), once))
        except SentTooOften:
            return self._join_crowd(event.channel_id, said)
        except SentBefore:
            return "not-said"
        except BrokerUnavailable as error:
            log.info("follow_note_not_said", channel_id=str(event.channel_id), reason=str(error))
            return "not-said"
        return "said"

    async def _wanted(self, channel_id: UUID) -> bool:
        try:
            return (await self._directory.find(channel_id)).rules.announce_follows
        except (RoomNotFound, RoomsUnavailable):
            return False

    async def _publish(self, channel_id: UUID, said: Said, conditions: Conditions) -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                await self._broker.publish(channel_id, f"follow:{said.message_id}", to_body(said), conditions)
        except TimeoutError as error:
            raise BrokerUnavailable(f"no answer within {PUBLISH_SECONDS_MAX} s") from error

    def _join_crowd(self, channel_id: UUID, said: Said) -> Outcome:
        crowd = self._crowds.get(channel_id)
        if crowd is not None:
            crowd.followers += 1
            crowd.last = said
        elif len(self._crowds) < CROWDS_MAX:
            self._crowds[channel_id] = Crowd(channel_id, 1, _clock() + self._minute_seconds, said)
        else:
            return "not-said"
        return "summed-up"


def _said(envelope: Envelope[FollowCreated], now: datetime) -> Said:
    event = envelope.event
    return Said(
        kind="system",
        message_id=envelope.id,
        user_id=event.follower_id,
        username=event.follower_name,
        text=_line(event.follower_name),
        sent_at=now,
        about="follow",
    )


def _line(username: str) -> str:
    return f"{username} follows now"


def _clock() -> float:
    return asyncio.get_running_loop().time()
