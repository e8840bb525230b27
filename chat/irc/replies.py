"""What the IRC door says by itself: numerics, notices with Twitch's message ids, refusals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chat.irc.lines import SERVER_NAME, line
from chat.sockets.frames import ErrorCode
from chat.speaking.rules import Rules
from chat.speaking.speaking import Refused

NAMES_LINE_CHARACTERS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Told:
    """A notice to be sent: Twitch's id for programs, a sentence for people."""

    msg_id: str
    text: str


def notice(channel: str, text: str, msg_id: str | None, tagged: bool) -> bytes:
    """A `NOTICE` in a channel, or before there is one (``*``)."""
    return line("NOTICE", channel, text=text, tags=[("msg-id", msg_id)] if tagged and msg_id else ())


def numeric(number: str, nick: str, *params: str, text: str | None = None) -> bytes:
    """A numeric reply (RFC 1459 section 6)."""
    return line(number, nick, *params, text=text)


def welcome(nick: str) -> bytes:
    """What a client gets when it is let in."""
    return b"".join(
        [
            numeric("001", nick, text="Welcome, GLHF!"),
            numeric("002", nick, text=f"Your host is {SERVER_NAME}"),
            numeric("003", nick, text="This server is rather new"),
            numeric("004", nick, text="-"),
            numeric("375", nick, text="-"),
            numeric("372", nick, text="You are in a maze of twisty passages, all alike."),
            numeric("376", nick, text=">"),
        ]
    )


def names(nick: str, channel: str, people: Sequence[str]) -> bytes:
    """353 in as many lines as it takes, and 366."""
    prefix = f"{nick}.{SERVER_NAME}"
    lines = [line("353", nick, "=", channel, text=part, prefix=prefix) for part in _in_parts(people)]
    return b"".join([*lines, line("366", nick, channel, text="End of /NAMES list", prefix=prefix)])


def _in_parts(people: Sequence[str]) -> Iterator[str]:
    part = ""
    for name in people:
        if part and len(part) + len(name) >= NAMES_LINE_CHARACTERS_MAX:
            yield part
            part = ""
        part = f"{part} {name}" if part else name
    yield part


_REFUSALS: Final[Mapping[ErrorCode, Told]] = {
    "banned": Told("msg_banned", "You are permanently banned from talking in this channel."),
    "timed-out": Told("msg_timedout", "You are timed out and cannot talk in this channel yet."),
    "slow-mode": Told("msg_slowmode", "This room is in slow mode and you are sending messages too quickly."),
    "rate-limited": Told("msg_ratelimit", "Your message was not sent because you are sending messages too quickly."),
    "followers-only": Told("msg_followersonly", "This room is in followers-only mode."),
    "subscribers-only": Told("msg_subsonly", "This room is in subscribers only mode."),
    "moderators-only": Told("msg_channel_blocked", "Only moderators talk in this room now."),
    "account-too-young": Told("msg_channel_blocked", "Your account is too young to talk in this room."),
    "emote-only": Told("msg_emoteonly", "This room is in emote only mode."),
    "said-before": Told("msg_r9k", "This room wants every message to be different, and it has had this one lately."),
    "too-long": Told("msg_rejected_mandatory", "Your message is too long for this room."),
    "blocked-term": Told("msg_rejected_mandatory", "Your message has words that this room does not want."),
    "links-not-allowed": Told("msg_rejected_mandatory", "This room wants no links."),
    "held": Told("msg_rejected", "Your message waits until a moderator has looked at it."),
    "unavailable": Told("msg_unavailable", "Chat is not available now; your message was not sent."),
    "reply-not-found": Told("msg_rejected_mandatory", "The message that you answer to is not there any more."),
}


def refusal(refused: Refused, rules: Rules) -> Told:
    """What a client is told of something that was not said."""
    told = _REFUSALS.get(refused.code, Told("msg_rejected_mandatory", refused.detail))
    if refused.code == "followers-only" and not rules.followers_only_minutes:
        told = Told("msg_followersonly_zero", told.text)
    if refused.retry_after_seconds is None:
        return told
    return Told(told.msg_id, f"{told.text} Try again in {max(1, round(refused.retry_after_seconds))} seconds.")


_SWITCHES: Final = (
    ("emote_only", "emote_only", "emote-only mode"),
    ("unique_messages", "r9k", "unique-chat mode"),
    ("subscribers_only", "subs", "subscribers-only mode"),
)


def rule_changes(before: Rules, after: Rules) -> Iterator[tuple[str, str]]:
    """A notice (id and text) for each rule that is different now."""
    for name, msg_id, words in _SWITCHES:
        if getattr(before, name) != getattr(after, name):
            on = getattr(after, name)
            yield (
                f"{msg_id}_{'on' if on else 'off'}",
                f"This room is {'now' if on else 'no longer'} in {words}.",
            )
    if before.slow_seconds != after.slow_seconds:
        yield _slow(after.slow_seconds)
    if before.followers_only_minutes != after.followers_only_minutes:
        yield _followers(after.followers_only_minutes)


def _slow(seconds: int) -> tuple[str, str]:
    if not seconds:
        return "slow_off", "This room is no longer in slow mode."
    return "slow_on", f"This room is now in slow mode. You may send messages every {seconds} seconds."


def _followers(minutes: int | None) -> tuple[str, str]:
    if minutes is None:
        return "followers_off", "This room is no longer in followers-only mode."
    if not minutes:
        return "followers_on_zero", "This room is now in followers-only mode."
    return "followers_on", f"This room is now in {minutes}-minute followers-only mode."
