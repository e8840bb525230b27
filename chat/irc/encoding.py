"""How what happens in a room is written for IRC clients: an `audience.Encoding` for each room and kind of client.

Clients of a kind (the same transport, the same capabilities) share the bytes of every flush. A room has at most 16
kinds; one that nobody is of any more is forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence, Set
from datetime import datetime
from typing import Final
from uuid import UUID

from chat.brokers.broker import Entry, Position
from chat.irc import replies, tags
from chat.irc.capabilities import COMMANDS, SERVER_TIME, TAGS, Capabilities, normal
from chat.irc.lines import line, user_prefix
from chat.irc.tags import Tags
from chat.rooms.entries import Cleared, Deleted, Said, read_body
from chat.rooms.facts import RoomFacts
from chat.sockets import frames
from chat.speaking.rules import Rules
from runtime.websockets import text_frame

REMEMBERED_MESSAGES_MAX: Final = 1_000

Wrap = Callable[[bytes], bytes]
"""Makes what is written to a socket from lines."""


def bare(lines: bytes) -> bytes:
    """Lines as they are, for plain connections."""
    return lines


def framed(lines: bytes) -> bytes:
    """Lines in one WebSocket text frame; nothing for no lines."""
    return text_frame(lines) if lines else b""


class RoomLines:
    """The encoding of one room for one kind of client: an `audience.Encoding`.

    It remembers who said the last messages, since a deletion names the message alone, and what the room allowed, since
    clients are told of the differences.
    """

    hides_own = True

    def __init__(self, facts: RoomFacts, capabilities: Capabilities, wrap: Wrap) -> None:
        self._room_id = facts.channel_id
        self._channel = f"#{facts.channel_name}"
        self._rules = facts.rules
        self._told: tuple[frames.Frame, bytes] | None = None
        self._tagged = TAGS in capabilities
        self._timed = SERVER_TIME in capabilities
        self._commands = COMMANDS in capabilities
        self._wrap = wrap
        self._speakers: OrderedDict[UUID, str] = OrderedDict()

    def messages(self, epoch: str, entries: Sequence[Entry], leave_out: Set[UUID] = frozenset()) -> bytes:
        """A line for each; except for the messages ``leave_out``, which who gets it said."""
        return self._wrap(b"".join(self._entry(read_body(entry.body), leave_out) for entry in entries))

    def gap(self, position: Position, newest: Sequence[Entry]) -> bytes:
        """Say so. IRC has no positions: what is shown again would look like said again, and bots would act on it."""
        return self._wrap(replies.notice(self._channel, "Some messages may be missing here.", "msg_gap", self._tagged))

    def notice(self, notice: frames.Frame) -> bytes:
        """What a client of this kind is told of it; b"" for nothing."""
        if isinstance(notice, frames.Status):
            available = notice.chat == "available"
            text = "Chat is back." if available else "Chat is not available now; it comes back by itself."
            return self._wrap(replies.notice(self._channel, text, f"chat_{notice.chat}", self._tagged))
        if isinstance(notice, frames.RulesChanged):
            # The same notice comes again for the other lane, and for those who are told without their own messages.
            if self._told is None or self._told[0] is not notice:
                self._told = notice, self._wrap(self._rules_changed(notice.rules))
            return self._told[1]
        return b""

    def _entry(self, body: Said | Deleted | Cleared, leave_out: Set[UUID]) -> bytes:
        if isinstance(body, Deleted):
            return self._deleted(body)
        if isinstance(body, Cleared):
            return self._cleared(body)
        if body.kind in ("message", "action"):
            self._remember(body)
            return b"" if body.message_id in leave_out else self._said(body)
        if body.kind == "announcement" and not self._commands:
            return self._said(body)
        return self._user_notice(body)

    def _remember(self, said: Said) -> None:
        self._speakers[said.message_id] = said.username
        if len(self._speakers) > REMEMBERED_MESSAGES_MAX:
            self._speakers.popitem(last=False)

    def _said(self, said: Said) -> bytes:
        text = f"\x01ACTION {said.text}\x01" if said.kind == "action" else said.text
        prefix = user_prefix(said.username)
        shown = self._shown(tags.of_said(self._room_id, said), said.sent_at)
        return line("PRIVMSG", self._channel, text=text, prefix=prefix, tags=shown)

    def _user_notice(self, said: Said) -> bytes:
        if not self._commands:
            return replies.notice(self._channel, said.text, None, self._tagged)
        shown = [*tags.of_said(self._room_id, said), ("login", said.username)]
        if said.kind == "announcement":
            shown += [("msg-id", "announcement"), ("msg-param-color", "PRIMARY"), ("system-msg", "")]
            return line("USERNOTICE", self._channel, text=said.text, tags=self._shown(shown, said.sent_at))
        shown += [("msg-id", said.about or "system"), ("system-msg", said.text)]
        # Without tags there would be nothing to read.
        text = None if self._tagged else said.text
        return line("USERNOTICE", self._channel, text=text, tags=self._shown(shown, said.sent_at))

    def _deleted(self, deleted: Deleted) -> bytes:
        name = self._speakers.get(deleted.message_id)
        if name is None or not self._commands:
            return b""  # they have never seen it
        shown = [
            ("login", name),
            ("room-id", str(self._room_id)),
            ("target-msg-id", str(deleted.message_id)),
        ]
        return line("CLEARMSG", self._channel, text="", tags=self._shown(shown, None))

    def _cleared(self, cleared: Cleared) -> bytes:
        if not self._commands:
            return b""
        shown = [("room-id", str(self._room_id)), ("tmi-sent-ts", tags.milliseconds(cleared.cleared_at))]
        if cleared.user_id is None:
            return line("CLEARCHAT", self._channel, tags=self._shown(shown, cleared.cleared_at))
        shown.append(("target-user-id", str(cleared.user_id)))
        if cleared.seconds != 0:
            # Without a duration it is a ban. Who only loses their messages is as one who is silent for a second.
            shown.insert(0, ("ban-duration", str(cleared.seconds or 1)))
        name = cleared.username or "*"
        return line("CLEARCHAT", self._channel, text=name, tags=self._shown(shown, cleared.cleared_at))

    def _rules_changed(self, rules: Rules) -> bytes:
        before, self._rules = self._rules, rules
        different = tags.of_rules(self._room_id, rules, before)
        if not different:
            return b""
        lines = [line("ROOMSTATE", self._channel, tags=different if self._tagged else ())] if self._commands else []
        lines += [
            replies.notice(self._channel, text, msg_id, self._tagged)
            for msg_id, text in replies.rule_changes(before, rules)
        ]
        return b"".join(lines)

    def _shown(self, all_tags: Tags, moment: datetime | None) -> Tags:
        shown = all_tags if self._tagged else []
        if self._timed and moment is not None:
            shown = [*shown, ("time", _iso(moment))]
        return shown


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Encodings:
    """The encodings that seats of this gateway have now."""

    def __init__(self) -> None:
        self._used: dict[tuple[UUID, Capabilities, Wrap], tuple[RoomLines, int]] = {}

    def __len__(self) -> int:
        return len(self._used)

    def take(self, facts: RoomFacts, capabilities: Capabilities, wrap: Wrap) -> RoomLines:
        """The one for this room and kind of client; give it back with `give_back`."""
        key = (facts.channel_id, normal(capabilities), wrap)
        encoding, users = self._used.get(key) or (RoomLines(facts, key[1], wrap), 0)
        self._used[key] = encoding, users + 1
        return encoding

    def give_back(self, room_id: UUID, capabilities: Capabilities, wrap: Wrap) -> None:
        """Somebody uses it no more."""
        key = (room_id, normal(capabilities), wrap)
        encoding, users = self._used.pop(key)
        if users > 1:
            self._used[key] = encoding, users - 1
