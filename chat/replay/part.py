"""Puts replays together."""

from chat.parts import ChatParts
from chat.replay.api import ReplayApi
from chat.replay.recordings import subscription
from eventbus.consume import ConsumeLoop
from runtime.assembly import Assembly


def assemble_replay(parts: ChatParts) -> Assembly:
    """The group that hears of recordings, and chat beside them."""
    return Assembly(
        apis=[ReplayApi(parts.pool)],
        services=[ConsumeLoop(parts.bus, parts.outbox, subscription(), health=parts.health)],
    )
