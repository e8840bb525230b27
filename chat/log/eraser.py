"""Erases the words of what was taken back, and forgets deletions and tails that nothing can come late for any more.

A deletion hides its messages the moment it is committed. Erasing follows when every transaction has ended that may have
been writing messages down without having seen it; and in bounded steps, since a clear may cover a million of them.
"""

import structlog

from chat.log import metrics
from chat.log.store import QUERIES
from runtime.backoff import pause
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 15.0
SETTLED_SECONDS = 60.0
"""Older than any transaction can be: statements end after ten seconds, and so do connections that wait in between."""
ERASED_AT_ONCE_MAX = 2_000
STEPS_MAX = 100
"""In a row; then there is a pause for everybody else."""
DELETION_KEPT_SECONDS = 2 * 86_400.0
TAIL_KEPT_SECONDS = 30 * 86_400.0
FORGOTTEN_AT_ONCE_MAX = 5_000


class Eraser:
    """A service; any number of processes run one, and share the deletions."""

    name = "chat-log-eraser"

    def __init__(self, pool: Pool, *, settled_seconds: float = SETTLED_SECONDS) -> None:
        self._pool = pool
        self._settled_seconds = settled_seconds

    async def run(self) -> None:
        """Erase until cancelled."""
        while True:
            try:
                for _ in range(STEPS_MAX):
                    if not await self.erase():
                        break
                await self.forget()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("chat_log_eraser_waits", reason=str(error) or type(error).__name__)
            await pause(LOOK_SECONDS, 0.8, 1.2)

    async def erase(self) -> bool:
        """One step of one deletion; False when there is none to apply."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await QUERIES.take_log_deletion(connection, settled_seconds=self._settled_seconds)
            if row is None:
                return False
            of_all = {"channel_id": row["channel_id"], "deleted_at": row["noted_at"], "deleted_by": row["deleted_by"]}
            of_some = {"since": row["since"], "before": row["before"], "messages_max": ERASED_AT_ONCE_MAX}
            if row["message_id"] is not None:
                await QUERIES.blank_message(connection, message_id=row["message_id"], **of_all)
                erased = 1
            elif row["user_id"] is not None:
                erased = await QUERIES.blank_messages_of(connection, user_id=row["user_id"], **of_all, **of_some)
            else:
                erased = await QUERIES.blank_messages(connection, **of_all, **of_some)
            if erased < ERASED_AT_ONCE_MAX:
                await QUERIES.end_log_deletion(connection, deletion_id=row["deletion_id"])
        metrics.erased.inc(erased)
        return True

    async def forget(self) -> None:
        """Remove what nothing can come late for any more."""
        await QUERIES.forget_log_deletions(
            self._pool, kept_seconds=DELETION_KEPT_SECONDS, rows_max=FORGOTTEN_AT_ONCE_MAX
        )
        await QUERIES.forget_log_tails(self._pool, kept_seconds=TAIL_KEPT_SECONDS, rows_max=FORGOTTEN_AT_ONCE_MAX)
