"""Entries that a room must get because something was committed: told at once, and again until the room has them.

The entry is written down in the transaction that made it true, published after the commit, and removed when the room
has it. What a process that died or a broker that was away left untold, every gateway tells after seconds; the broker
takes it once, by its id.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog

from chat import metrics
from chat.brokers.broker import Broker, Conditions
from chat.errors import BrokerUnavailable
from runtime.backoff import pause
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

QUERIES = load_queries("chat")

LOOK_SECONDS = 2.0
LEFT_AFTER_SECONDS = 3.0
"""By then whoever committed has told it, or does not any more."""
UNTOLD_AT_ONCE_MAX = 200


@dataclass(frozen=True, slots=True)
class Untold:
    """An entry that a room is to get."""

    entry_id: UUID
    channel_id: UUID
    message_id: str
    """Under which it is published: the same again is published once."""
    body: bytes
    spooled: bool


class Telling:
    """A service, which tells what others left; any number of processes run one."""

    name = "chat-telling"

    def __init__(self, pool: Pool, broker: Broker, *, left_after_seconds: float = LEFT_AFTER_SECONDS) -> None:
        self._pool = pool
        self._broker = broker
        self._left_after_seconds = left_after_seconds

    async def note(
        self,
        connection: Connection,
        channel_id: UUID,
        body: bytes,
        *,
        message_id: str | None = None,
        spooled: bool = False,
    ) -> Untold:
        """Write an entry down; it is told if the transaction commits. `tell` it after that, to have it told at once."""
        entry_id = uuid7()
        untold = Untold(entry_id, channel_id, message_id or f"moderation:{entry_id}", body, spooled)
        await QUERIES.note_untold(
            connection,
            entry_id=entry_id,
            channel_id=channel_id,
            message_id=untold.message_id,
            body=body.decode(),
            spooled=spooled,
        )
        return untold

    async def tell(self, untold: Untold) -> bool:
        """Publish it; False if that has to wait for the broker, and is done without you."""
        try:
            await self._broker.publish(
                untold.channel_id, untold.message_id, untold.body, Conditions(), spooled=untold.spooled
            )
        except BrokerUnavailable as error:
            log.warning("chat_entry_untold", room=str(untold.channel_id), reason=str(error))
            return False
        try:
            await QUERIES.forget_untold(self._pool, entry_id=untold.entry_id)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("chat_told_entry_kept", room=str(untold.channel_id), reason=str(error) or type(error).__name__)
        return True

    async def run(self) -> None:
        """Tell what was left untold, until cancelled."""
        while True:
            await pause(LOOK_SECONDS, 0.8, 1.2)
            if self._broker.connected:
                await self.tell_left()

    async def tell_left(self) -> int:
        """Tell what was left, oldest first; how many rooms have it now."""
        try:
            rows = await QUERIES.list_untold(
                self._pool, older_than_seconds=self._left_after_seconds, items_max=UNTOLD_AT_ONCE_MAX
            )
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("chat_untold_not_read", reason=str(error) or type(error).__name__)
            return 0
        told = 0
        for row in rows:
            told += await self.tell(Untold(**{**row, "body": row["body"].encode()}))
        metrics.told_late.inc(told)
        return told
