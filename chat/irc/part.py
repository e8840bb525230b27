"""Puts the IRC door together."""

import asyncio

from chat.irc.api import IrcPasswordsApi
from chat.irc.channels import find_by_name
from chat.irc.commands import ModeratorCommands
from chat.irc.connection import IrcParts
from chat.irc.door import IrcDoor
from chat.irc.encoding import Encodings
from chat.irc.joined import JoinParts
from chat.irc.listener import IrcListener
from chat.irc.login import Doorkeeper, FailedLogins
from chat.irc.passwords import Passwords
from chat.irc.revocation import Revocation
from chat.irc.talking import Talking
from chat.moderation.actions import Moderation
from chat.moderation.telling import Telling
from chat.parts import ChatParts
from runtime.assembly import Assembly
from runtime.service import Service


def assemble_irc(parts: ChatParts) -> Assembly:
    """IRC over WebSocket, over TCP where a port is given, and the passwords for both."""
    passwords = Passwords(parts.pool)
    moderation = Moderation(parts.outbox, parts.signals, Telling(parts.pool, parts.broker))
    conversations = IrcParts(
        doorkeeper=Doorkeeper(passwords, parts.verifier, FailedLogins(asyncio.get_running_loop().time)),
        admission=parts.admission,
        join=JoinParts(find_by_name(parts.pool), parts.rooms, parts.speaking, Encodings()),
        talking=Talking(parts.speaking, ModeratorCommands(moderation, parts.pool)),
    )
    door = IrcDoor(parts.settings, conversations)
    services: list[Service] = [Revocation(door, passwords)]
    port = parts.settings.chat_irc_port
    if port is not None:
        services.append(IrcListener(parts.settings, port, door, parts.admission))
    return Assembly(apis=[door, IrcPasswordsApi(passwords)], services=services)
