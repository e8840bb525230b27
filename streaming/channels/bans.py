"""Refuses a channel's publishers for a while, or until that is lifted: by the streamer, or by an operator.

Both kinds may stand side by side. The streamer's own goes with the key that it was about, so making a new key lifts it;
an operator's holds whatever the key.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field

from runtime.postgres import Pool
from runtime.queries import Executor
from runtime.tokens import Caller
from streaming import store
from streaming.errors import BannedByOperator, NotYourChannel

log = structlog.get_logger(__name__)


class BannedBy(StrEnum):
    """Who refuses a channel's publishers."""

    STREAMER = "streamer"
    OPERATOR = "operator"


class BanView(BaseModel):
    """Why a channel may not stream at present."""

    model_config = ConfigDict(frozen=True)

    banned_by: BannedBy
    banned_until: datetime | None = Field(description="Null: until it is lifted.")
    reason: str | None


class Bans:
    """Bans in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ban(self, channel_id: UUID, caller: Caller, *, seconds: int | None, reason: str | None) -> None:
        """Refuse a channel's publishers from now on, in the caller's name: the streamer's, or else an operator's."""
        by = BannedBy.STREAMER if caller.user_id == channel_id else BannedBy.OPERATOR
        await store.queries.ban_channel(
            self._pool,
            channel_id=channel_id,
            banned_by=by.value,
            seconds=seconds,
            reason=reason,
            made_by=caller.user_id,
        )
        log.info("channel_banned", channel_id=str(channel_id), banned_by=by.value, seconds=seconds)

    async def lift(self, channel_id: UUID, caller: Caller) -> None:
        """Lift the caller's kind of ban, if there is one. Raises NotYourChannel, BannedByOperator."""
        own = caller.user_id == channel_id
        if not own and not caller.operator:
            raise NotYourChannel("only its streamer and operators may let a channel stream again")
        by = [BannedBy.STREAMER] * own + [BannedBy.OPERATOR] * caller.operator
        lifted = await store.queries.lift_bans(self._pool, channel_id=channel_id, banned_by=[one.value for one in by])
        if lifted:
            log.info("channel_ban_lifted", channel_id=str(channel_id), banned_by=[row["banned_by"] for row in lifted])
        left = await self.find(self._pool, channel_id)
        if left is not None and left.banned_by is BannedBy.OPERATOR:
            raise BannedByOperator("an operator has banned the channel, and an operator lifts that")

    @staticmethod
    async def find(database: Executor, channel_id: UUID) -> BanView | None:
        """Why a channel's publishers are refused; None: they are not."""
        row = await store.queries.find_ban(database, channel_id=channel_id)
        return BanView(**row) if row else None
