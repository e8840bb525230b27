"""Puts the live lane together."""

from notify.announcer import RedisChannels
from notify.live_api import LiveApi
from notify.live_entry import LiveEntry
from notify.live_gateway import LiveGateway
from notify.live_socket import LiveSockets
from notify.live_stream import LiveStreams
from notify.parts import NotifyParts
from runtime.assembly import Assembly


def assemble_live(parts: NotifyParts) -> Assembly:
    """The process's subscription on Redis, and the endpoints of its clients."""
    settings = parts.settings
    gateway = LiveGateway(
        parts.redis,
        RedisChannels(settings.notify_redis_prefix),
        parts.pool,
        parts.registry,
        silence_seconds_max=settings.notify_live_silence_seconds_max,
        replay_notices_max=settings.notify_live_replay_notices_max,
        follows_per_user_max=settings.notify_follows_per_user_max,
    )
    entry = LiveEntry(parts.pool, parts.registry, settings)
    api = LiveApi(parts.registry, LiveStreams(entry, settings), LiveSockets(entry, parts.verifier, settings))
    return Assembly(apis=[api], services=[gateway])
