"""Who may act in a room: its streamer may everything, moderators may what keeps it in order, others nothing.

For every part that lets moderators do something, over HTTP or IRC: `require` in the transaction that does it.
"""

from typing import Literal
from uuid import UUID

from chat.problems import NotAModerator, NotTheStreamer
from chat.rooms.roompath import RoomMissing
from runtime.postgres import load_queries
from runtime.queries import Executor
from runtime.tokens import Caller

QUERIES = load_queries("chat")

Rank = Literal["streamer", "moderator"]


async def require(executor: Executor, channel_id: UUID, caller: Caller, *, streamer: bool = False) -> Rank:
    """As what the caller acts in this room; with ``streamer`` only the streamer may.

    Raises RoomMissing, NotAModerator, NotTheStreamer.
    """
    row = await QUERIES.find_rank(executor, channel_id=channel_id, user_id=caller.user_id)
    if row is None:
        raise RoomMissing(f"no channel has the id {channel_id}")
    if caller.user_id == channel_id:
        return "streamer"
    if streamer:
        raise NotTheStreamer("only the streamer of this room may do this")
    if not row["moderator"]:
        raise NotAModerator("only the streamer and the moderators of this room may do this")
    return "moderator"
