"""Puts together what erases deleted people; what it is to do comes with the events of the group `chat`."""

from chat.moderation.telling import Telling
from chat.parts import ChatParts
from chat.people.erasing import PersonErasing
from chat.people.room_keys import RoomKeys
from runtime.assembly import Assembly
from runtime.erasure import Erasures


def assemble_people(parts: ChatParts) -> Assembly:
    """The worker. What it cannot tell rooms at once, the service of the moderation tells."""
    telling = Telling(parts.pool, parts.broker)
    erasing = PersonErasing(parts.pool, parts.outbox, telling, RoomKeys(parts.redis))
    return Assembly(services=[Erasures(parts.pool, erasing.steps, service="chat")])
