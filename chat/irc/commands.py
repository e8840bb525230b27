"""The commands of moderators that come as messages (`/timeout ann 60`), done as over HTTP: same rights, same record.

Each is answered with a notice under the message id that Twitch's chat uses, since bots wait for it. What everybody in
the room is told (a cleared room, a changed rule) is no notice: it comes to all, and so to whoever asked.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn
from uuid import UUID

import structlog

from chat import metrics
from chat.irc import tags
from chat.irc.client import Client
from chat.irc.joined import Joined
from chat.irc.lines import line
from chat.moderation.actions import MODERATORS_MAX, REASON_CHARACTERS_MAX, TIMEOUT_SECONDS_MAX, Moderation
from chat.problems import AlreadyModerates, NotAModerator, NotTheStreamer, NotToBeModerated, TooManyModerators
from chat.rooms.roompath import RoomMissing
from chat.speaking.rules import FOLLOW_MINUTES_MAX, SLOW_SECONDS_MAX, Rules
from chat.store import QUERIES
from runtime.postgres import Pool
from runtime.tokens import Caller
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS: Final = 600
SLOW_SECONDS: Final = 30

NOT_FOR_ROOMS: Final = ("me", "announce", "disconnect")
"""Known, and done by whoever asks what a message is."""

_DURATION: Final = re.compile(r"([0-9]{1,9}) ?([a-z]*)")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_NOBODY: Final = UUID(int=0)
_SWITCHES: Final = {
    "emoteonly": ("emote_only", True, "emote_only_on"),
    "emoteonlyoff": ("emote_only", False, "emote_only_off"),
    "uniquechat": ("unique_messages", True, "r9k_on"),
    "uniquechatoff": ("unique_messages", False, "r9k_off"),
    "r9kbeta": ("unique_messages", True, "r9k_on"),
    "r9kbetaoff": ("unique_messages", False, "r9k_off"),
    "subscribers": ("subscribers_only", True, "subs_on"),
    "subscribersoff": ("subscribers_only", False, "subs_off"),
}


class NotDone(Exception):
    """A command is refused; ``msg_id`` is for programs, the text for people."""

    def __init__(self, msg_id: str, text: str) -> None:
        super().__init__(text)
        self.msg_id = msg_id


Run = Callable[[Client, Joined, Caller, str], Awaitable[None]]


class ModeratorCommands:
    """Knows the commands and does them."""

    def __init__(self, moderation: Moderation, pool: Pool) -> None:
        self._moderation = moderation
        self._pool = pool
        self._runs: Mapping[str, Run] = {
            "timeout": self._timeout,
            "ban": self._ban,
            "unban": self._unban,
            "untimeout": self._unban,
            "delete": self._delete,
            "clear": self._clear,
            "slow": self._slow,
            "slowoff": self._slow_off,
            "followers": self._followers,
            "followersoff": self._followers_off,
            "mod": self._mod,
            "unmod": self._unmod,
            "mods": self._mods,
        }

    def read(self, text: str) -> tuple[str | None, str]:
        """The command in a text and what follows it; None if it is a message. A dot begins known commands alone."""
        if text[:1] not in ("/", "."):
            return None, text
        name, _, rest = text[1:].partition(" ")
        name = name.lower()
        if text[0] == "." and name not in (*self._runs, *_SWITCHES, *NOT_FOR_ROOMS):
            return None, text
        return name, rest.strip()

    async def run(self, client: Client, joined: Joined, name: str, rest: str) -> None:
        """Do it, and tell the client how that went."""
        try:
            if joined.speaker is None:
                _refuse("no_permission", "You came to read only.")
            await self._do(client, joined, joined.speaker.caller, name, rest)
        except NotDone as refused:
            client.notice(joined.channel, str(refused), refused.msg_id)
        except (NotAModerator, NotTheStreamer, RoomMissing):
            client.notice(joined.channel, "You don't have permission to perform that action.", "no_permission")
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("irc_command_unavailable", command=name, reason=str(error) or type(error).__name__)
            client.notice(joined.channel, "That cannot be done now; try again.", "msg_unavailable")

    async def _do(self, client: Client, joined: Joined, caller: Caller, name: str, rest: str) -> None:
        switch = _SWITCHES.get(name)
        if switch is not None:
            rule, wanted, msg_id = switch
            if not await self._change(joined, caller, rule, wanted):
                _refuse(f"already_{msg_id}", "That is so already.")
            return
        run = self._runs.get(name)
        if run is None:
            metrics.irc_lines_refused.labels("command").inc()
            _refuse("unrecognized_cmd", f"Unrecognized command: /{name[:30]}")
        await run(client, joined, caller, rest)

    # ------------------------------------------------------------------------------------- people

    async def _timeout(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        name, duration, reason = _split(rest)
        if not name:
            _refuse("usage_timeout", "Usage: /timeout <name> [seconds] [reason]")
        seconds = TIMEOUT_SECONDS if not duration else _seconds(duration)
        if seconds is None or not 1 <= seconds <= TIMEOUT_SECONDS_MAX:
            _refuse("bad_timeout_duration", f"A timeout is 1 to {TIMEOUT_SECONDS_MAX} seconds.")
        user_id, username = await self._person(name)
        await self._silence(joined, caller, user_id, seconds, reason, "timeout")
        client.notice(joined.channel, f"{username} has been timed out for {seconds} seconds.", "timeout_success")

    async def _ban(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        name, _, reason = rest.partition(" ")
        if not name:
            _refuse("usage_ban", "Usage: /ban <name> [reason]")
        user_id, username = await self._person(name)
        await self._silence(joined, caller, user_id, None, reason, "ban")
        client.notice(joined.channel, f"{username} is now banned from this channel.", "ban_success")

    async def _silence(
        self, joined: Joined, caller: Caller, user_id: UUID, seconds: int | None, reason: str, what: str
    ) -> None:
        try:
            await self._moderation.silence(
                caller,
                joined.room.room_id,
                user_id,
                seconds=seconds,
                reason=reason.strip()[:REASON_CHARACTERS_MAX] or None,
            )
        except NotToBeModerated as error:
            whom = "self" if user_id == caller.user_id else "mod"
            whom = "broadcaster" if user_id == joined.room.room_id != caller.user_id else whom
            raise NotDone(f"bad_{what}_{whom}", error.detail) from error

    async def _unban(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        name = rest.partition(" ")[0]
        if not name:
            _refuse("usage_unban", "Usage: /unban <name>")
        user_id, username = await self._person(name)
        if not await self._moderation.lift(caller, joined.room.room_id, user_id):
            _refuse("bad_unban_no_ban", f"{username} is not banned from this channel.")
        client.notice(joined.channel, f"{username} is no longer banned from this channel.", "unban_success")

    async def _mod(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        if not rest:
            _refuse("usage_mod", "Usage: /mod <name>")
        user_id, username = await self._person(rest.partition(" ")[0])
        try:
            await self._moderation.add_moderator(caller, joined.room.room_id, user_id)
        except AlreadyModerates as error:
            raise NotDone("bad_mod_mod", f"{username} may everything here already.") from error
        except TooManyModerators as error:
            raise NotDone("usage_mod", error.detail) from error
        client.notice(joined.channel, f"You have added {username} as a moderator of this channel.", "mod_success")

    async def _unmod(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        if not rest:
            _refuse("usage_unmod", "Usage: /unmod <name>")
        user_id, username = await self._person(rest.partition(" ")[0])
        await self._moderation.remove_moderator(caller, joined.room.room_id, user_id)
        client.notice(joined.channel, f"{username} is no moderator of this channel.", "unmod_success")

    async def _mods(self, client: Client, joined: Joined, _caller: Caller, _rest: str) -> None:
        rows = await QUERIES.list_moderators(
            self._pool, channel_id=joined.room.room_id, after=_NOBODY, items_max=MODERATORS_MAX
        )
        names = sorted(row["username"] for row in rows if row["username"])
        if not names:
            client.notice(joined.channel, "There are no moderators of this channel.", "no_mods")
            return
        client.notice(joined.channel, f"The moderators of this channel are: {', '.join(names)}", "room_mods")

    async def _person(self, name: str) -> tuple[UUID, str]:
        username = name.lstrip("@").lower()
        row = await QUERIES.find_person_by_name(self._pool, username=username)
        if row is None:
            _refuse("invalid_user", f"There is nobody called {username[:64]}.")
        return row["user_id"], row["username"]

    # ------------------------------------------------------------------------------------- messages

    async def _delete(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        try:
            message_id = UUID(rest)
        except ValueError:
            raise NotDone("usage_delete", "Usage: /delete <id of the message>") from None
        await self._moderation.delete_message(caller, joined.room.room_id, message_id)
        client.notice(joined.channel, "The message has been deleted.", "delete_message_success")

    async def _clear(self, _client: Client, joined: Joined, caller: Caller, _rest: str) -> None:
        await self._moderation.clear(caller, joined.room.room_id)

    # ------------------------------------------------------------------------------------- rules

    async def _slow(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        seconds = _seconds(rest) if rest else SLOW_SECONDS
        if seconds is None or not 1 <= seconds <= SLOW_SECONDS_MAX:
            _refuse("usage_slow_on", f"Usage: /slow [1 to {SLOW_SECONDS_MAX} seconds]")
        if not await self._change(joined, caller, "slow_seconds", seconds):
            _tell_again(client, joined, "slow")

    async def _slow_off(self, client: Client, joined: Joined, caller: Caller, _rest: str) -> None:
        if not await self._change(joined, caller, "slow_seconds", 0):
            _tell_again(client, joined, "slow")

    async def _followers(self, client: Client, joined: Joined, caller: Caller, rest: str) -> None:
        seconds = _seconds(rest, unit_seconds=60) if rest else 0
        if seconds is None or seconds > 60 * FOLLOW_MINUTES_MAX:
            _refuse("usage_followers_on", "Usage: /followers [minutes, or such as 2h, 7d], at most 90 days")
        if not await self._change(joined, caller, "followers_only_minutes", seconds // 60):
            _tell_again(client, joined, "followers-only")

    async def _followers_off(self, client: Client, joined: Joined, caller: Caller, _rest: str) -> None:
        if not await self._change(joined, caller, "followers_only_minutes", None):
            _tell_again(client, joined, "followers-only")

    async def _change(self, joined: Joined, caller: Caller, rule: str, value: int | bool | None) -> bool:
        """Whether it was something else, so that everybody is told of it."""
        told: Rules = joined.room.facts.rules
        await self._moderation.change_rules(caller, joined.room.room_id, {rule: value})
        different: bool = getattr(told, rule) != value
        return different


def _tell_again(client: Client, joined: Joined, name: str) -> None:
    """The answer that a bot waits for, when nothing changed and so nobody is told anything."""
    if client.knows_commands and client.tagged:
        state = dict(tags.of_rules(joined.room.room_id, joined.room.facts.rules))
        shown = [(name, state[name]), ("room-id", state["room-id"])]
        client.tell(line("ROOMSTATE", joined.channel, tags=shown))


def _refuse(msg_id: str, text: str) -> NoReturn:
    raise NotDone(msg_id, text)


def _split(rest: str) -> tuple[str, str, str]:
    parts = [*rest.split(" ", 2), "", ""]
    return parts[0], parts[1], parts[2]


def _seconds(text: str, *, unit_seconds: int = 1) -> int | None:
    """A duration such as 90, 10m, 2 hours; None if it is none."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        return None
    number, unit = int(found[1]), found[2]
    if not unit:
        return number * unit_seconds
    known = _UNITS.get("mo" if unit.startswith("mo") else unit[0])
    return None if known is None else number * known
