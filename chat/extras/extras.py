"""Puts together what a room has besides messages: who is there, emotes, a pinned message, polls, notes of follows."""

from chat.emotes.api import EmoteApi
from chat.emotes.images import ImageCache, open_images
from chat.emotes.store import EmoteKeeping, Emotes
from chat.extras.announcements import AnnouncementApi
from chat.extras.deadlines import Deadlines
from chat.extras.follow_notes import FollowNotes
from chat.extras.pins import PinApi
from chat.parts import ChatParts
from chat.polls.api import PollApi
from chat.polls.store import Polls
from chat.presence.api import RoomApi
from chat.presence.attendance import Attendance
from chat.presence.presence_redis import RedisPresence
from eventbus.consume import ConsumeLoop
from runtime.assembly import Assembly


def assemble_presence(parts: ChatParts) -> Assembly:
    """Who is in a room."""
    presence = RedisPresence(parts.redis)
    api = RoomApi(parts.directory, parts.rooms, parts.broker, presence)
    return Assembly(apis=[api], services=[Attendance(presence, parts.rooms.open_rooms)])


def assemble_emotes(parts: ChatParts) -> Assembly:
    """Emotes, if there is a place for their images."""
    store = open_images(parts.settings)
    if store is None:
        return Assembly(apis=[EmoteApi(parts.pool, parts.directory, None, None)])
    emotes = Emotes(parts.pool, parts.signals, store, emotes_max=parts.settings.chat_emotes_max)
    images = ImageCache(store, emotes.content_type_of)
    return Assembly(
        apis=[EmoteApi(parts.pool, parts.directory, emotes, images)], services=[EmoteKeeping(store, emotes)]
    )


def assemble_polls(parts: ChatParts) -> Assembly:
    """Polls and the pinned message, and the clock of both."""
    polls = PollApi(Polls(parts.pool, parts.signals), parts.directory)
    pins = PinApi(parts.pool, parts.broker, parts.signals)
    return Assembly(apis=[polls, pins], services=[Deadlines(parts.pool, parts.signals)])


def assemble_announcements(parts: ChatParts) -> Assembly:
    """What moderators and the room itself announce."""
    notes = FollowNotes(parts.broker, parts.directory)
    loop = ConsumeLoop(parts.bus, parts.outbox, notes.subscription(), health=parts.health)
    return Assembly(apis=[AnnouncementApi(parts.pool, parts.rooms, parts.speaking)], services=[notes, loop])
