"""What IRC clients are told of a room: golden lines, each kind of client, and what each hides."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from chat.brokers.broker import Entry, Position
from chat.irc.capabilities import COMMANDS, SERVER_TIME, TAGS, Capabilities
from chat.irc.encoding import Encodings, RoomLines, bare, framed
from chat.rooms.audience import Audience, Seat, take_off
from chat.rooms.entries import Cleared, Deleted, EmoteUse, RepliedTo, Role, Said, SaidKind, to_body
from chat.rooms.facts import RoomFacts
from chat.sockets.frames import Frame, Presence, RulesChanged, Status
from chat.speaking.rules import Rules

ROOM = UUID("0199aa00-0000-7000-8000-000000000001")
MESSAGE = UUID("0199aa00-0000-7000-8000-000000000002")
BOB = UUID("0199aa00-0000-7000-8000-000000000003")
NOON = datetime(2026, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)
FULL: Capabilities = frozenset([TAGS, COMMANDS])
FACTS = RoomFacts(ROOM, "ann", None)

WHO = (
    "@badge-info=;badges=;color=;display-name=bob;mod=0;subscriber=0;user-type=;emotes=;first-msg=0;flags=;"
    f"id={MESSAGE};room-id={ROOM};tmi-sent-ts=1767355200250;turbo=0;user-id={BOB}"
)


def said(text: str = "hello", kind: SaidKind = "message", role: Role = "viewer", **more: object) -> Said:
    return Said.model_validate(
        {"kind": kind, "message_id": MESSAGE, "user_id": BOB, "username": "bob", "text": text, "sent_at": NOON}
        | {"role": role}
        | more
    )


def told(
    *bodies: Said | Deleted | Cleared, capabilities: Capabilities = FULL, encoding: RoomLines | None = None
) -> list[str]:
    lines = (encoding or RoomLines(FACTS, capabilities, bare)).messages("e", entries(*bodies)).decode()
    assert not lines or lines.endswith("\r\n")
    return lines.split("\r\n")[:-1]


def entries(*bodies: Said | Deleted | Cleared) -> list[Entry]:
    return [Entry(number, to_body(body)) for number, body in enumerate(bodies, 1)]


def noticed(encoding: RoomLines, notice: Frame) -> list[str]:
    return encoding.notice(notice).decode().split("\r\n")[:-1]


def test_a_message_with_all_its_tags() -> None:
    assert told(said()) == [f"{WHO} :bob!bob@bob.tmi.twitch.tv PRIVMSG #ann :hello"]


def test_an_action_an_emote_a_role_and_a_reply() -> None:
    parent = RepliedTo(message_id=ROOM, user_id=ROOM, username="ann", text="what; now")
    emotes = (EmoteUse(name="wave", url="/w", places=((0, 4), (5, 9))),)
    (line,) = told(said("wave wave", "action", "moderator", reply_to=parent, emotes=emotes))
    tags, _, rest = line.partition(" ")
    assert rest == ":bob!bob@bob.tmi.twitch.tv PRIVMSG #ann :\x01ACTION wave wave\x01"
    given = dict(pair.split("=", 1) for pair in tags[1:].split(";"))
    assert given["emotes"] == "wave:0-3,5-8"
    assert (given["badges"], given["mod"], given["user-type"]) == ("moderator/1", "1", "mod")
    assert given["reply-parent-msg-body"] == "what\\:\\snow"
    assert given["reply-parent-user-login"] == "ann"


def test_what_clients_without_capabilities_get() -> None:
    nothing: Capabilities = frozenset()
    assert told(said(), capabilities=nothing) == [":bob!bob@bob.tmi.twitch.tv PRIVMSG #ann :hello"]
    assert told(said(), Deleted(message_id=MESSAGE), capabilities=nothing)[1:] == []
    assert told(said("news", "announcement"), capabilities=nothing)[0].endswith("PRIVMSG #ann :news")
    assert told(said("bob follows", "system"), capabilities=nothing) == [":tmi.twitch.tv NOTICE #ann :bob follows"]
    timed = told(said(), capabilities=frozenset([SERVER_TIME]))
    assert timed == ["@time=2026-01-02T12:00:00.250Z :bob!bob@bob.tmi.twitch.tv PRIVMSG #ann :hello"]


def test_announcements_and_what_the_system_says() -> None:
    (announced,) = told(said("news", "announcement"))
    assert announced.startswith(WHO) and announced.endswith(":tmi.twitch.tv USERNOTICE #ann :news")
    assert ";login=bob;msg-id=announcement;" in announced
    (follow,) = told(said("bob follows now", "system", about="follow"))
    assert follow.endswith(";msg-id=follow;system-msg=bob\\sfollows\\snow :tmi.twitch.tv USERNOTICE #ann")


@pytest.mark.parametrize(
    ("cleared", "expected"),
    [
        (Cleared(cleared_at=NOON), f"@room-id={ROOM};tmi-sent-ts=1767355200250 :tmi.twitch.tv CLEARCHAT #ann"),
        (
            Cleared(cleared_at=NOON, user_id=BOB, username="bob", seconds=60),
            f"@ban-duration=60;room-id={ROOM};tmi-sent-ts=1767355200250;target-user-id={BOB}"
            " :tmi.twitch.tv CLEARCHAT #ann :bob",
        ),
        (
            Cleared(cleared_at=NOON, user_id=BOB, username="bob", seconds=0),
            f"@room-id={ROOM};tmi-sent-ts=1767355200250;target-user-id={BOB} :tmi.twitch.tv CLEARCHAT #ann :bob",
        ),
        (
            Cleared(cleared_at=NOON, user_id=BOB, username="bob"),
            f"@ban-duration=1;room-id={ROOM};tmi-sent-ts=1767355200250;target-user-id={BOB}"
            " :tmi.twitch.tv CLEARCHAT #ann :bob",
        ),
    ],
)
def test_cleared_rooms_timeouts_and_bans(cleared: Cleared, expected: str) -> None:
    assert told(cleared) == [expected]


def test_a_deletion_is_told_to_those_who_saw_the_message() -> None:
    encoding = RoomLines(FACTS, FULL, bare)
    assert told(Deleted(message_id=MESSAGE), encoding=encoding) == []
    told(said(), encoding=encoding)
    gone = f"@login=bob;room-id={ROOM};target-msg-id={MESSAGE} :tmi.twitch.tv CLEARMSG #ann :"
    # Both lanes of a room may be told apart from each other.
    assert told(Deleted(message_id=MESSAGE), encoding=encoding) == [gone]
    assert told(Deleted(message_id=MESSAGE), encoding=encoding) == [gone]


def test_rules_are_told_by_what_is_different() -> None:
    encoding = RoomLines(FACTS, FULL, bare)
    change = RulesChanged(rules=Rules(slow_seconds=30, emote_only=True))
    expected = [
        f"@emote-only=1;slow=30;room-id={ROOM} :tmi.twitch.tv ROOMSTATE #ann",
        "@msg-id=emote_only_on :tmi.twitch.tv NOTICE #ann :This room is now in emote-only mode.",
        "@msg-id=slow_on :tmi.twitch.tv NOTICE #ann :This room is now in slow mode."
        " You may send messages every 30 seconds.",
    ]
    assert noticed(encoding, change) == expected
    assert noticed(encoding, change) == expected  # the same notice, for the other lane
    assert noticed(encoding, RulesChanged(rules=Rules(slow_seconds=30, emote_only=True))) == []
    assert noticed(encoding, RulesChanged(rules=Rules(slow_seconds=30, emote_only=True, links=False))) == []
    assert noticed(encoding, RulesChanged(rules=Rules(followers_only_minutes=0)))[0].startswith(
        "@emote-only=0;followers-only=0;slow=0;room-id="
    )


def test_other_notices() -> None:
    encoding = RoomLines(FACTS, FULL, bare)
    assert noticed(encoding, Presence(chatters=3)) == []
    assert "not available" in noticed(encoding, Status(chat="unavailable"))[0]
    assert b"may be missing" in encoding.gap(Position(7, "e"), entries(said()))


def test_lines_travel_in_one_web_socket_frame() -> None:
    encoding = RoomLines(FACTS, frozenset(), framed)
    frame = encoding.messages("e", entries(said("a"), said("b")))
    assert frame[:2] == bytes([0x81, len(frame) - 2])
    assert frame[2:].count(b"\r\n") == 2
    assert encoding.messages("e", entries(Deleted(message_id=ROOM))) == b""
    assert encoding.notice(Presence(chatters=3)) == b""


class Ears:
    def __init__(self) -> None:
        self.heard = b""

    def write(self, frames: bytes, /) -> None:
        self.heard += frames


async def test_who_says_something_is_not_told_it_but_everybody_else_is() -> None:
    encoding = RoomLines(FACTS, frozenset(), bare)
    speaking, same_person, other = (Seat(Ears(), encoding, user_id=BOB) for _ in range(3))
    audience = Audience(encoding)
    for seat in (speaking, same_person, other):
        audience.add(seat)
    speaking.said.add(MESSAGE)
    run = [*entries(said("mine")), Entry(2, to_body(said("other", message_id=ROOM)))]
    await take_off(audience, "e", [], run, audience.encode("e", [], run)).land()
    assert _heard(speaking) == ["other"]
    assert _heard(same_person) == _heard(other) == ["mine", "other"]
    assert not speaking.said


def _heard(seat: Seat) -> list[str]:
    assert isinstance(seat.member, Ears)
    return [line.rpartition(b":")[2].decode() for line in seat.member.heard.split(b"\r\n")[:-1]]


def test_encodings_are_shared_and_forgotten() -> None:
    encodings = Encodings()
    one = encodings.take(FACTS, FULL, bare)
    assert encodings.take(FACTS, FULL | {"message-tags"}, bare) is one
    assert encodings.take(FACTS, FULL, framed) is not one
    encodings.give_back(ROOM, FULL, framed)
    encodings.give_back(ROOM, FULL, bare)
    assert encodings.take(FACTS, FULL, bare) is one
    encodings.give_back(ROOM, FULL, bare)
    encodings.give_back(ROOM, FULL, bare)
    assert len(encodings) == 0
