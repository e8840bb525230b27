"""Writes accepted messages down: from the spool into the log and the outbox, once each, whatever is killed.

Pattern: a batch is one transaction over a few rooms. It takes the rooms' locks, reads what waits under them, leaves out
what the tails say is written already, says and inserts the rest, moves the tails and commits; only then are the names
settled in the spool.

Invariants: offsets of one epoch ascend in the spool as they do in the room, so everything at or below a tail is
written. Who dies before the commit has done nothing; who dies after it leaves names in the spool that the next one
finds below the tail, and so does a spool that has forgotten that they were settled. Who is frozen loses its transaction
to Postgres, or settles names that are gone already. A room's order is that of its offsets, in the outbox too.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from chat.brokers.spool import Spool, SpooledMessage
from chat.errors import BrokerUnavailable
from chat.log import metrics, store
from chat.log.store import LoggedMessage, LoggedRoom
from chat.rooms.entries import Said, is_deletion, read_body
from eventbus.outbox import Outbox
from events import ChatMessageSent, SaidAs
from runtime.backoff import Backoff, pause
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
GATHER_SECONDS = 1.0
"""Between rounds while messages come and none has to wait for a second round: a round costs much the same for one
message as for twenty."""
ROOMS_PER_ROUND_MAX = 2_000
ROOMS_PER_BATCH_MAX = 100
ENTRIES_PER_BATCH_MAX = 500
RETRY_FIRST_SECONDS = 0.2
RETRY_CEILING_SECONDS = 5.0

AWAY: tuple[type[Exception], ...] = (*PERHAPS_AWAY, BrokerUnavailable)

Tails = Mapping[tuple[UUID, str], int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was found waiting in one room."""

    room: UUID
    entries: Sequence[SpooledMessage]


class LogWriter:
    """Drains the spool. A service; any number of processes run one, and share the rooms."""

    name = "chat-log"

    def __init__(self, outbox: Outbox, spool: Spool, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._outbox = outbox
        self._spool = spool
        self._poll_seconds = poll_seconds
        self._is_behind = False

    async def run(self) -> None:
        """Write until cancelled; while Postgres or Redis is away, what was accepted waits in the spool."""
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                settled = await self.round()
            except AWAY as error:
                if not isinstance(error, BrokerUnavailable) and not is_unavailable(error):
                    raise
                log.warning("chat_log_waits", reason=str(error) or type(error).__name__, attempts=backoff.attempts)
                await backoff.wait()
                continue
            backoff.reset()
            if not self._is_behind:
                rest_seconds = GATHER_SECONDS if settled else self._poll_seconds
                # At random, so that processes that look at the same rooms do not look at the same moment.
                await pause(rest_seconds, 0.5, 1.0)

    async def round(self) -> int:
        """Write down what waits in some of the rooms; how many messages left the spool."""
        rooms = list(await self._spool.rooms(rooms_max=ROOMS_PER_ROUND_MAX))
        random.shuffle(rooms)
        if not rooms:
            metrics.waiting.set(0)
            metrics.oldest_seconds.set(0)
        settled = 0
        self._is_behind = False
        for start in range(0, len(rooms), ROOMS_PER_BATCH_MAX):
            settled += await self._write(rooms[start : start + ROOMS_PER_BATCH_MAX])
        return settled

    async def _write(self, rooms: Sequence[UUID]) -> int:
        """One batch of some rooms, those left out that somebody else writes down now."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            mine = await store.lock_rooms(connection, rooms)
            if not mine:
                return 0
            waiting = await self._read(mine)
            epochs = {entry.epoch for one in waiting for entry in one.entries}
            if epochs:
                tails = await store.find_tails(connection, mine, list(epochs))
                messages = messages_of(waiting, tails, await store.find_rooms(connection, mine))
                await transaction.say(*(event_of(one) for one, _ in messages))
                await store.insert(connection, [one for one, is_kept in messages if is_kept])
                await store.move_tails(connection, moved_tails(waiting, tails))
        if epochs:
            _count([one.said.sent_at for one, _ in messages])
        await self._spool.settle_in(
            {one.room: [entry.spool_id for entry in one.entries] for one in waiting if one.entries}
        )
        return sum(len(one.entries) for one in waiting)

    async def _read(self, rooms: Sequence[UUID]) -> list[Waiting]:
        share = max(1, ENTRIES_PER_BATCH_MAX // len(rooms))
        found = await self._spool.waiting_in(rooms, entries_max=share)
        metrics.waiting.set(sum(len(entries) for entries in found))
        self._is_behind |= any(len(entries) >= share for entries in found)
        return [Waiting(room, entries) for room, entries in zip(rooms, found, strict=True)]


def messages_of(
    waiting: Iterable[Waiting], tails: Tails, rooms: Mapping[UUID, LoggedRoom]
) -> list[tuple[LoggedMessage, bool]]:
    """What is to be said of it, in order, each with whether it is kept; what is written already is left out."""
    found = []
    for one in waiting:
        room = rooms.get(one.room, LoggedRoom())
        for entry in one.entries:
            if entry.offset <= tails.get((one.room, entry.epoch), 0):
                continue
            said = _said(one.room, entry)
            if said is not None:
                message = LoggedMessage(one.room, entry.epoch, entry.offset, said, room.live_at(said.sent_at))
                found.append((message, room.permanent_log))
    return found


def moved_tails(waiting: Iterable[Waiting], tails: Tails) -> Tails:
    """Where the tails are when everything that waited is written."""
    moved: dict[tuple[UUID, str], int] = {}
    for one in waiting:
        for entry in one.entries:
            place = (one.room, entry.epoch)
            if entry.offset > moved.get(place, tails.get(place, 0)):
                moved[place] = entry.offset
    return moved


def event_of(message: LoggedMessage) -> ChatMessageSent:
    """What is said of a message."""
    said = message.said
    return ChatMessageSent(
        channel_id=message.channel_id,
        message_id=said.message_id,
        user_id=said.user_id,
        username=said.username,
        text=said.text,
        kind=SaidAs(said.kind),
        sent_at=said.sent_at,
        offset=message.offset,
        epoch=message.epoch,
        stream_id=message.stream_id,
    )


def _said(room: UUID, entry: SpooledMessage) -> Said | None:
    """The message; None for a deletion, and for what is no message at all, which nothing will ever make one."""
    if is_deletion(entry.body):
        return None
    try:
        # Postgres has no such character in text; nobody can see it either.
        said = read_body(entry.body.replace(b"\\u0000", b"\\ufffd"))
    except ValidationError as error:
        metrics.unreadable.inc()
        log.warning("chat_log_unreadable", room=str(room), offset=entry.offset, errors=error.error_count())
        return None
    return said if isinstance(said, Said) else None


def _count(sent_at: Sequence[datetime]) -> None:
    if not sent_at:
        return
    age_seconds = max(0.0, (datetime.now(UTC) - min(sent_at)).total_seconds())
    metrics.written.inc(len(sent_at))
    metrics.write_seconds.observe(age_seconds)
    metrics.oldest_seconds.set(age_seconds)
