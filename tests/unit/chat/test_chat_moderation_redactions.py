"""A deletion also takes the words that an answer has quoted, and has the standing of whom it is about looked up."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from chat.brokers.broker import Entry
from chat.rooms.audience import Seat
from chat.rooms.entries import Cleared, Deleted, RepliedTo, Said, read_body, redacted, to_body
from chat.sockets import frames
from runtime.ids import uuid7
from tests.unit.chat.room_world import Client, until, world_of

TROLL, FAN = uuid7(), uuid7()
NOW = datetime.now(UTC)


def said(user: UUID, text: str, reply_to: Said | None = None) -> Said:
    quoted = reply_to and RepliedTo(
        message_id=reply_to.message_id, user_id=reply_to.user_id, username=reply_to.username, text=reply_to.text
    )
    return Said(message_id=uuid7(), user_id=user, username="x", text=text, sent_at=NOW, reply_to=quoted)


def shown(*bodies: Said | Deleted | Cleared) -> list[Said | Deleted | Cleared]:
    entries = [Entry(offset, to_body(body)) for offset, body in enumerate(bodies, 1)]
    return [read_body(entry.body) for entry in redacted(entries)]


def test_an_answer_keeps_its_own_words_and_loses_those_of_a_deleted_message() -> None:
    secret = said(TROLL, "secret")
    answer = said(FAN, "what?", reply_to=secret)
    other = said(FAN, "to myself", reply_to=said(FAN, "kept"))
    tombstone, answered, kept, _ = shown(secret, answer, other, Deleted(message_id=secret.message_id))
    assert isinstance(tombstone, Deleted)
    assert isinstance(answered, Said)
    assert (answered.text, answered.message_id) == ("what?", answer.message_id)
    assert answered.reply_to is not None
    assert (answered.reply_to.message_id, answered.reply_to.text) == (secret.message_id, "")
    assert kept == other


def test_answers_to_somebody_whose_messages_are_cleared_lose_their_words() -> None:
    secret = said(TROLL, "secret")
    _, answered, _ = shown(secret, said(FAN, "what?", reply_to=secret), Cleared(user_id=TROLL, cleared_at=NOW))
    assert isinstance(answered, Said)
    assert answered.reply_to is not None
    assert answered.reply_to.text == ""
    assert "secret" not in str(shown(secret, said(FAN, "what?", reply_to=secret), Cleared(cleared_at=NOW)))


async def test_whose_messages_are_cleared_is_looked_up_anew_also_when_that_was_missed() -> None:
    async with world_of(1) as world:
        room, touched = world.rooms[0], list[UUID]()
        await room.ready()
        for user in (TROLL, TROLL, FAN):
            room.join(Seat(Client(), frames.CHAT_FRAMES, user, touched=partial(touched.append, user)))
        await world.post(to_body(Cleared(user_id=TROLL, seconds=5, cleared_at=NOW)))
        await until(lambda: touched == [TROLL, TROLL])
        world.links[0].drop()
        await world.post(to_body(Cleared(user_id=FAN, seconds=0, cleared_at=NOW)))
        world.links[0].restore()
        await until(lambda: touched == [TROLL, TROLL, FAN])
