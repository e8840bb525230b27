"""One IRC client's conversation: login, channels, messages, and the answers that stock clients wait for.

The lines of a client are handled one after the other, so a client that sends fast waits for itself only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from chat import metrics
from chat.errors import RoomsUnavailable
from chat.irc import endings, replies
from chat.irc.capabilities import OFFERED, changed
from chat.irc.channels import channel_name
from chat.irc.client import NOBODY, Client
from chat.irc.endings import Ending
from chat.irc.joined import JoinedRooms, JoinParts
from chat.irc.lines import SERVER_NAME, BadLine, Line, line, read_line
from chat.irc.login import Doorkeeper, Guest, LoginRefused, anonymous
from chat.irc.talking import Talking
from chat.irc.wires import Wire
from chat.sockets.admission import Admission
from chat.sockets.frame_guard import Pace
from runtime.tokens import TOKEN_CHARACTERS_MAX

log = structlog.get_logger(__name__)

JOINS_MAX: Final = 20
JOINS_SECONDS: Final = 10.0
"""So many channels may be joined in so many seconds."""
CHANNELS_PER_LINE_MAX: Final = 20
BAD_LINES_MAX: Final = 50
NICK_CHARACTERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class IrcLimits:
    """The bounds of one connection."""

    login_timeout_seconds: float
    silent_seconds: float
    """After so long without a line the client is pinged."""
    answer_seconds: float
    """So long it has to answer."""
    lines_per_second_max: float


@dataclass(frozen=True, slots=True)
class IrcParts:
    """What conversations need; the same for all."""

    doorkeeper: Doorkeeper
    admission: Admission
    join: JoinParts
    talking: Talking


class IrcConnection:
    """Serves one client until it leaves or is ended."""

    def __init__(self, wire: Wire, address: str, parts: IrcParts, limits: IrcLimits) -> None:
        self._wire = wire
        wire.member.on_slow = self.cut
        self._address = address
        self._parts = parts
        self._limits = limits
        self._client = Client(wire)
        self._joined = JoinedRooms(self._client, parts.join)
        clock = asyncio.get_running_loop().time
        self._lines = Pace(limits.lines_per_second_max, clock)
        self._joins = Pace(JOINS_MAX / JOINS_SECONDS, clock, burst_seconds=JOINS_SECONDS)
        self._nick: str | None = None
        self._secret: str | None = None
        self._user_said = False
        self._pinged = False
        self._bad_lines = 0
        self._ending: Ending | None = None
        self._receiving: asyncio.Timeout | None = None

    @property
    def password_id(self) -> UUID | None:
        """By which IRC password it came in, if it was one."""
        return None if self._client.guest is None else self._client.guest.password_id

    async def serve(self) -> None:
        """Talk until the end. The connection is closed afterwards."""
        login_by = _now() + self._limits.login_timeout_seconds
        try:
            while not self._ended:
                lines = await self._receive(login_by)
                if lines is None:
                    break
                for raw in lines:
                    if not self._ended:
                        await self._take(raw)
        finally:
            self._joined.leave_all()
            guest = self._client.guest
            if guest is not None and guest.caller is not None:
                self._parts.admission.release_user(guest.caller.user_id)
        if self._ending is not None and self._ending is not endings.TOO_SLOW:
            self._client.tell(line("ERROR", text=self._ending.reason, prefix=None))
        await self._wire.close(self._ending)

    @property
    def _ended(self) -> bool:
        return self._ending is not None

    def end(self, ending: Ending) -> None:
        """Have this connection closed soon, from whatever task; only the first reason counts."""
        if self._ending is not None:
            return
        self._ending = ending
        if ending is endings.DRAINING and self._client.knows_commands:
            self._client.tell(line("RECONNECT"))
        if self._receiving is not None and not self._receiving.expired():
            self._receiving.reschedule(_now())

    def cut(self) -> None:
        """End the connection of a client that does not read. It is sent nothing more."""
        if self._ending is None:
            metrics.slow_clients_cut.inc()
            log.info("irc_slow_client_cut", nick=self._client.nick)
        for joined in self._joined:
            joined.room.leave(joined.seat)
        self.end(endings.TOO_SLOW)

    # ------------------------------------------------------------------------------------- receiving

    async def _receive(self, login_by: float) -> list[bytes] | None:
        """The next lines; none of them when it is only time for something else; None at the end of it all."""
        in_time = self._limits.answer_seconds if self._pinged else self._limits.silent_seconds
        until = login_by if self._client.guest is None else _now() + in_time
        try:
            async with asyncio.timeout_at(until) as self._receiving:
                lines = await self._wire.receive()
        except TimeoutError:
            self._silent()
            return []
        finally:
            self._receiving = None
        self._pinged = False
        return lines

    def _silent(self) -> None:
        if self._ending is not None:
            return
        if self._client.guest is None:
            self.end(endings.LOGIN_TIMEOUT)
        elif self._pinged:
            self.end(endings.SILENT)
        else:
            self._pinged = True
            self._client.tell(line("PING", text=SERVER_NAME, prefix=None))

    async def _take(self, raw: bytes) -> None:
        if not self._lines.take():
            self._refuse_line("pace", endings.TOO_MANY_LINES.reason)
            self.end(endings.TOO_MANY_LINES)
            return
        try:
            received = read_line(raw)
        except BadLine as bad:
            self._bad_line(str(bad))
            return
        if received is None:
            return
        handle = self._handler_of(received.command)
        if handle is None:
            self._client.numeric("421", received.command[:NICK_CHARACTERS_MAX], text="Unknown command")
            self._bad_line(None)
            return
        answer = handle(received)
        if answer is not None:
            await answer

    def _bad_line(self, text: str | None) -> None:
        self._refuse_line("bad", text)
        self._bad_lines += 1
        if self._bad_lines >= BAD_LINES_MAX:
            self.end(endings.TOO_MANY_LINES)

    def _refuse_line(self, reason: str, text: str | None) -> None:
        metrics.irc_lines_refused.labels(reason).inc()
        if text is not None:
            self._client.notice(NOBODY, f"Not taken: {text}.")

    def _handler_of(self, command: str) -> "Callable[[Line], Awaitable[None] | None] | None":
        always: dict[str, Callable[[Line], Awaitable[None] | None]] = {
            "CAP": self._cap,
            "PASS": self._pass,
            "NICK": self._take_nick,
            "USER": self._user,
            "PING": self._ping,
            "PONG": _nothing,
            "QUIT": self._quit,
        }
        if command in always or self._client.guest is None:
            return always.get(command, self._not_registered)
        return {
            "JOIN": self._join,
            "PART": self._part,
            "PRIVMSG": self._privmsg,
            "NOTICE": _nothing,
            "NAMES": self._names,
            "WHO": self._who,
            "WHOIS": self._whois,
            "MODE": self._mode,
            "TOPIC": self._topic,
            "LIST": self._list,
            "USERHOST": self._userhost,
            "ISON": self._ison,
            "AWAY": _nothing,
            "MOTD": self._motd,
        }.get(command)

    # ------------------------------------------------------------------------------------- login

    def _cap(self, received: Line) -> None:
        word = received.param(0).upper()
        if word == "LS":
            self._client.tell(line("CAP", self._client.nick, "LS", text=" ".join(OFFERED)))
        elif word == "LIST":
            self._client.tell(line("CAP", self._client.nick, "LIST", text=" ".join(sorted(self._client.capabilities))))
        elif word == "REQ":
            asked = " ".join(received.params[1:])
            capabilities = changed(self._client.capabilities, asked.split())
            if capabilities is not None:
                self._joined.change_capabilities(capabilities)
            answer = "NAK" if capabilities is None else "ACK"
            self._client.tell(line("CAP", NOBODY, answer, text=asked))
        elif word != "END":
            self._client.numeric("410", word[:NICK_CHARACTERS_MAX], text="Invalid CAP command")

    def _pass(self, received: Line) -> Awaitable[None] | None:
        if self._client.guest is not None:
            self._client.numeric("462", text="You are logged in already")
            return None
        if len(received.param(0)) > TOKEN_CHARACTERS_MAX + len("oauth:"):
            self._refuse_login("Improperly formatted auth")
            return None
        self._secret = received.param(0)
        return self._log_in()

    def _take_nick(self, received: Line) -> Awaitable[None] | None:
        if not received.param(0):
            self._client.numeric("431", text="No nickname given")
            return None
        if self._client.guest is None:
            self._nick = received.param(0)[:NICK_CHARACTERS_MAX]
            return self._log_in()
        return None  # one is called what the account is called

    def _user(self, _received: Line) -> Awaitable[None] | None:
        self._user_said = True
        return None if self._client.guest is not None else self._log_in()

    async def _log_in(self) -> None:
        """Let the client in once it has said enough."""
        if self._nick is None:
            return
        guest = anonymous(self._nick)
        if guest is None:
            if self._secret is None:
                if self._user_said:
                    self._refuse_login("Improperly formatted auth: send PASS first, or come as justinfan12345 to read")
                return
            try:
                guest = await self._parts.doorkeeper.let_in(self._address, self._secret)
            except LoginRefused as refused:
                self._refuse_login(str(refused))
                return
            except RoomsUnavailable:
                self.end(endings.UNAVAILABLE)
                return
            finally:
                self._secret = None
        self._welcome(guest)

    def _welcome(self, guest: Guest) -> None:
        if guest.caller is not None and not self._parts.admission.admit_user(guest.caller.user_id):
            self.end(endings.TOO_MANY_OF_USER)
            return
        self._client.guest = guest
        self._client.tell(replies.welcome(guest.name))
        if guest.caller is not None and self._client.knows_commands:
            shown = [("display-name", guest.name), ("user-id", str(guest.caller.user_id)), ("user-type", "")]
            self._client.tell(line("GLOBALUSERSTATE", tags=shown if self._client.tagged else ()))

    def _refuse_login(self, text: str) -> None:
        self._client.notice(NOBODY, text)
        self.end(endings.LOGIN_REFUSED)

    def _not_registered(self, _received: Line) -> None:
        self._client.numeric("451", text="You have not registered")

    def _quit(self, _received: Line) -> None:
        self.end(endings.QUIT)

    def _ping(self, received: Line) -> None:
        # Without a parameter tmi.js asks, which knows no answer with a prefix.
        if not received.params:
            self._client.tell(line("PONG", prefix=None))
            return
        self._client.tell(line("PONG", SERVER_NAME, text=received.params[0]))

    # ------------------------------------------------------------------------------------- channels

    async def _join(self, received: Line) -> None:
        if not received.params:
            self._client.numeric("461", "JOIN", text="Not enough parameters")
            return
        for channel in received.params[0].split(",", CHANNELS_PER_LINE_MAX)[:CHANNELS_PER_LINE_MAX]:
            name = channel_name(channel)
            if name is None:
                self._client.numeric("403", channel, text="No such channel")
            elif not self._joins.take():
                metrics.irc_lines_refused.labels("joins").inc()
                self._client.notice(channel, "You join too many channels at once; try again in some seconds.")
            else:
                await self._joined.join(name)

    def _part(self, received: Line) -> None:
        for channel in received.param(0).split(",", CHANNELS_PER_LINE_MAX)[:CHANNELS_PER_LINE_MAX]:
            self._joined.part(channel_name(channel) or "")

    async def _privmsg(self, received: Line) -> None:
        if len(received.params) < 2:
            self._client.numeric("461", "PRIVMSG", text="Not enough parameters")
            return
        joined = self._joined.find(channel_name(received.params[0]))
        if joined is None:
            self._client.notice(received.params[0], "Join the channel first.", "msg_room_not_found")
            return
        ending = await self._parts.talking.take(self._client, self._joined, joined, received)
        if ending is not None:
            self.end(ending)

    def _names(self, received: Line) -> None:
        joined = self._joined.find(channel_name(received.param(0)))
        if joined is not None:
            self._client.tell(self._joined.names(joined))
        else:
            self._client.numeric("366", received.param(0), text="End of /NAMES list")

    # ------------------------------------------------------------------------------------- what stock clients ask

    def _who(self, received: Line) -> None:
        joined = self._joined.find(channel_name(received.param(0)))
        if joined is not None:
            nick = self._client.nick
            params = (joined.channel, nick, f"{nick}.{SERVER_NAME}", SERVER_NAME, nick, "H")
            self._client.numeric("352", *params, text=f"0 {nick}")
        self._client.numeric("315", received.param(0), text="End of /WHO list")

    def _whois(self, received: Line) -> None:
        self._client.numeric("318", received.param(0), text="End of /WHOIS list")

    def _mode(self, received: Line) -> None:
        channel = received.param(0)
        if self._joined.find(channel_name(channel)) is None:
            return
        if received.param(1).lstrip("+").startswith("b"):
            self._client.numeric("368", channel, text="End of channel ban list")
        elif len(received.params) == 1:
            self._client.numeric("324", channel, "+nt")
        else:
            self._client.numeric("482", channel, text="Use /ban, /timeout, /mod and the like")

    def _topic(self, received: Line) -> None:
        self._client.numeric("331", received.param(0), text="No topic is set")

    def _list(self, _received: Line) -> None:
        self._client.numeric("321", "Channel", text="Users  Name")
        for joined in self._joined:
            self._client.numeric("322", joined.channel, str(joined.room.chatters), text="")
        self._client.numeric("323", text="End of /LIST")

    def _userhost(self, _received: Line) -> None:
        nick = self._client.nick
        self._client.numeric("302", text=f"{nick}=+{nick}@{nick}.{SERVER_NAME}")

    def _ison(self, _received: Line) -> None:
        self._client.numeric("303", text="")

    def _motd(self, _received: Line) -> None:
        self._client.numeric("422", text="There is no message of the day")


def _nothing(_received: Line) -> None:
    """What needs no answer."""


def _now() -> float:
    return asyncio.get_running_loop().time()
