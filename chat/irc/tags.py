"""The tags of Twitch's chat: of what somebody said, of what they may do, and of what a room allows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chat.rooms.entries import EmoteUse, Role, Said
from chat.speaking.rules import Rules

Tags = list[tuple[str, str]]

_BADGES: Final[dict[Role, str]] = {
    "streamer": "broadcaster/1",
    "moderator": "moderator/1",
    "subscriber": "subscriber/0",
    "viewer": "",
}


def milliseconds(moment: datetime) -> str:
    """A moment as clients get it: Unix time in milliseconds."""
    return str(round(moment.timestamp() * 1_000))


def of_person(name: str, role: Role) -> Tags:
    """What a person is in a room; in messages and in `USERSTATE`."""
    return [
        ("badge-info", "subscriber/0" if role == "subscriber" else ""),
        ("badges", _BADGES[role]),
        ("color", ""),
        ("display-name", name),
        ("mod", _flag(role == "moderator")),
        ("subscriber", _flag(role == "subscriber")),
        ("user-type", "mod" if role == "moderator" else ""),
    ]


def of_said(room_id: UUID, said: Said) -> Tags:
    """Of a message, an action, an announcement."""
    return [
        *of_person(said.username, said.role),
        ("emotes", _emotes(said.emotes)),
        ("first-msg", "0"),
        ("flags", ""),
        ("id", str(said.message_id)),
        ("room-id", str(room_id)),
        ("tmi-sent-ts", milliseconds(said.sent_at)),
        ("turbo", "0"),
        ("user-id", str(said.user_id)),
        *_of_reply(said),
    ]


def _of_reply(said: Said) -> Tags:
    parent = said.reply_to
    if parent is None:
        return []
    return [
        ("reply-parent-display-name", parent.username),
        ("reply-parent-msg-body", parent.text),
        ("reply-parent-msg-id", str(parent.message_id)),
        ("reply-parent-user-id", str(parent.user_id)),
        ("reply-parent-user-login", parent.username),
    ]


def _emotes(uses: Sequence[EmoteUse]) -> str:
    """``name:first-last,first-last/name:…``; the last character is the last one of the emote."""
    return "/".join(
        f"{use.name}:" + ",".join(f"{start}-{end - 1}" for start, end in use.places) for use in uses if use.places
    )


def of_rules(room_id: UUID, rules: Rules, before: Rules | None = None) -> Tags:
    """Of a `ROOMSTATE`: everything, or with ``before`` only what is different now; empty if nothing is."""
    old = None if before is None else dict(_rules(before))
    tags = [(name, value) for name, value in _rules(rules) if old is None or old[name] != value]
    return [*tags, ("room-id", str(room_id))] if tags else []


def _rules(rules: Rules) -> Tags:
    minutes = rules.followers_only_minutes
    return [
        ("emote-only", _flag(rules.emote_only)),
        ("followers-only", "-1" if minutes is None else str(minutes)),
        ("r9k", _flag(rules.unique_messages)),
        ("slow", str(rules.slow_seconds)),
        ("subs-only", _flag(rules.subscribers_only)),
    ]


def _flag(value: bool) -> str:
    return "1" if value else "0"
