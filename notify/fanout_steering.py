"""Steering: a streamer pauses, resumes or cancels the telling of their followers."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from eventbus.outbox import Outbox
from notify import fanout_store
from notify.errors import FanoutNotFound, FanoutStateForbids, NotYourFanout
from notify.fanout import Fanouts
from notify.fanout_store import Fanout, FanoutState
from runtime.postgres import Connection, Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)


class Steering:
    """What streamers may do with their fan-outs.

    Pausing and cancelling lets the pages that are just being written come to their end: what is asked holds for those
    that are not written yet, and for what is queued to be pushed or mailed.
    """

    def __init__(self, outbox: Outbox, fanouts: Fanouts) -> None:
        self._outbox = outbox
        self._fanouts = fanouts

    async def pause(self, caller: Caller, fanout_id: UUID) -> None:
        """Let pages and deliveries wait. Raises FanoutNotFound, NotYourFanout, FanoutStateForbids."""
        await self._change(caller, fanout_id, of=[FanoutState.RUNNING], to=FanoutState.PAUSED)

    async def cancel(self, caller: Caller, fanout_id: UUID) -> None:
        """Tell nobody any more. Raises FanoutNotFound, NotYourFanout, FanoutStateForbids."""
        await self._change(caller, fanout_id, of=[FanoutState.RUNNING, FanoutState.PAUSED], to=FanoutState.CANCELLED)

    async def resume(self, caller: Caller, fanout_id: UUID) -> None:
        """Go on where it was paused. Raises FanoutNotFound, NotYourFanout, FanoutStateForbids."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            fanout = await own_fanout(connection, caller, fanout_id)
            await _change(connection, fanout, of=[FanoutState.PAUSED], to=FanoutState.RUNNING)
            # read behind the change: a page that still saw the pause held this row before us, and is among these
            held = await fanout_store.list_held_pages(connection, fanout_id)
            await self._fanouts.go_on(transaction, fanout, held)

    async def _change(self, caller: Caller, fanout_id: UUID, *, of: Sequence[FanoutState], to: FanoutState) -> None:
        async with self._outbox.transaction() as transaction:
            fanout = await own_fanout(transaction.connection, caller, fanout_id)
            await _change(transaction.connection, fanout, of=of, to=to)


async def own_fanout(connection: Connection | Pool, caller: Caller, fanout_id: UUID) -> Fanout:
    """The caller's fan-out. Raises FanoutNotFound, NotYourFanout."""
    fanout = await fanout_store.find_fanout(connection, fanout_id)
    if fanout is None:
        raise FanoutNotFound(f"there is no fan-out {fanout_id}")
    if fanout.channel_id != caller.user_id:
        raise NotYourFanout("only the streamer may see and steer this")
    return fanout


async def _change(connection: Connection, fanout: Fanout, *, of: Sequence[FanoutState], to: FanoutState) -> None:
    if await fanout_store.change_state(connection, fanout.fanout_id, of=of, to=to):
        log.info("fanout_steered", fanout_id=str(fanout.fanout_id), state=to)
        return
    now = await fanout_store.find_fanout(connection, fanout.fanout_id)
    state = (now or fanout).state
    allowed = " or ".join(of)
    raise FanoutStateForbids(f"it is {state}; only one that is {allowed} can become {to}", state=state, allowed=[*of])
