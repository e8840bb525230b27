"""One IRC client as the other parts of the door see it: who it is, what it asked for, and how it is told something."""

from dataclasses import dataclass
from typing import Final

from chat.irc import replies
from chat.irc.capabilities import COMMANDS, MESSAGE_TAGS, TAGS, Capabilities
from chat.irc.lines import line, user_prefix
from chat.irc.login import Guest
from chat.irc.wires import Wire

NOBODY: Final = "*"


@dataclass(eq=False)
class Client:
    """A connection that has said hello, or is about to."""

    wire: Wire
    capabilities: Capabilities = frozenset()
    guest: Guest | None = None
    """Null until it is let in."""

    @property
    def nick(self) -> str:
        """Its name: the account's, whatever it called itself."""
        return NOBODY if self.guest is None else self.guest.name

    @property
    def tagged(self) -> bool:
        """Whether it wants tags."""
        return TAGS in self.capabilities or MESSAGE_TAGS in self.capabilities

    @property
    def knows_commands(self) -> bool:
        """Whether it knows Twitch's own commands."""
        return COMMANDS in self.capabilities

    def tell(self, lines: bytes) -> None:
        """Queue lines for it."""
        if lines:
            self.wire.member.write(self.wire.wrap(lines))

    def notice(self, channel: str, text: str, msg_id: str | None = None) -> None:
        """Tell it something in a channel (or before there is one: ``*``)."""
        self.tell(replies.notice(channel, text, msg_id, self.tagged))

    def numeric(self, number: str, *params: str, text: str | None = None) -> None:
        """Answer with a number."""
        self.tell(replies.numeric(number, self.nick, *params, text=text))

    def own_line(self, command: str, channel: str) -> None:
        """What it does itself, as everybody in a channel is told on IRC."""
        self.tell(line(command, channel, prefix=user_prefix(self.nick)))
