"""What happens in rooms by the clock: polls end and go, new votes are told of, pins come down.

Every process looks, in one statement for all rooms, and the database says who found what; so it happens whichever
process is alive. New votes are told of at most once a second and poll, over all processes together, however many vote.
"""

import structlog

from chat.rooms.signals import RoomTouched, Signals
from chat.store import QUERIES
from runtime.backoff import Backoff, pause
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)


LOOK_SECONDS = 0.5
POLL_SHOWN_SECONDS = 15.0
"""How long a room shows a poll that has ended."""
VOTES_TOLD_SECONDS = 0.9
VOTES_OVERLAP_SECONDS = 2.0


class Deadlines:
    """Looks at the clock. A service."""

    name = "chat-deadlines"

    def __init__(self, pool: Pool, signals: Signals) -> None:
        self._pool = pool
        self._signals = signals

    async def run(self) -> None:
        """Look until cancelled."""
        backoff = Backoff(first_seconds=LOOK_SECONDS, ceiling_seconds=10.0)
        while True:
            try:
                await self.look()
                backoff.reset()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("chat_deadlines_wait", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            await pause(LOOK_SECONDS)

    async def look(self) -> int:
        """Do what is due; how many rooms changed."""
        rows = await QUERIES.pass_deadlines(
            self._pool,
            shown_seconds=POLL_SHOWN_SECONDS,
            told_seconds=VOTES_TOLD_SECONDS,
            overlap_seconds=VOTES_OVERLAP_SECONDS,
        )
        for row in rows:
            self._signals.touch(row["channel_id"], RoomTouched())
        return len(rows)
