"""Speaking: what is known to be refused costs the broker nothing, and other rules are other allowances."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from chat.brokers.broker import Allowance, Conditions, Entry, Published, Retention
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.errors import RoomsUnavailable
from chat.rooms.entries import Cleared, to_body
from chat.rooms.facts import RoomFacts
from chat.rooms.room import Room, RoomLimits
from chat.rooms.signals import StandingTouched
from chat.speaking.composing import EntryComposer
from chat.speaking.speaking import LOOK_UPS_MAX, Refused, Saying, Speaking
from chat.speaking.standing import FOR_GOOD, Standing
from runtime.tokens import Caller

ANN = Caller(uuid4(), "ann")


class Gate:
    """Lets everything in, under these conditions."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions

    async def admit(self, facts: RoomFacts, speaker: Caller, standing: Standing, saying: Saying) -> Conditions:
        return self.conditions


class People:
    """Standings that can be away, and are counted."""

    def __init__(self) -> None:
        self.away = False
        self.looked_up = 0
        self.standing = Standing()
        self.meanwhile: list[Callable[[], None]] = []
        """What happens, one thing a look-up, after it has read and before it is answered."""

    async def find(self, room: object, user: object) -> Standing:
        if self.away:
            raise RoomsUnavailable("the tables are away")
        self.looked_up += 1
        found = self.standing
        if self.meanwhile:
            self.meanwhile.pop()()
        return found


def slow(seconds: float) -> Conditions:
    return Conditions((Allowance("slow-mode", str(ANN.user_id), 1, seconds),))


class CountingBroker(MemoryBroker):
    """Counts what it is asked to publish."""

    asked = 0

    async def publish(
        self, room: UUID, message_id: str, body: bytes, conditions: Conditions, *, spooled: bool = True
    ) -> Published:
        self.asked += 1
        return await super().publish(room, message_id, body, conditions, spooled=spooled)


class Scene:
    """A room, somebody in it, and a broker that counts what it is asked."""

    def __init__(self, conditions: Conditions) -> None:
        self.server = MemoryServer(Retention())
        self.broker = CountingBroker(self.server)
        self.people = People()
        self.gate = Gate(conditions)
        self.room = Room(uuid4(), self.broker, RoomLimits())
        self.speaking = Speaking(self.broker, self.people, self.gate, EntryComposer())

    def said(self) -> int:
        return len(self.server.room(self.room.room_id).entries)


async def test_slow_mode_that_ends_lets_people_speak_at_once() -> None:
    scene = Scene(slow(60))
    ann = await scene.speaking.introduce(scene.room, ANN)
    await scene.speaking.say(scene.room, ann, Saying("1", "one"))
    for send_id in ("2", "3"):
        with pytest.raises(Refused) as refused:
            await scene.speaking.say(scene.room, ann, Saying(send_id, "too early"))
        assert refused.value.code == "slow-mode"
        assert 55 < (refused.value.retry_after_seconds or 0) <= 60
    assert scene.broker.asked == 2, "once it is known to be too early, the broker is not asked"
    scene.gate.conditions = Conditions()
    await scene.speaking.say(scene.room, ann, Saying("4", "two"))
    assert scene.said() == 2


async def test_a_standing_is_looked_up_again_after_a_time_in_which_nothing_was_heard() -> None:
    scene = Scene(Conditions())
    ann = await scene.speaking.introduce(scene.room, ANN)
    await scene.speaking.say(scene.room, ann, Saying("1", "one"))
    assert scene.people.looked_up == 1
    scene.room.resyncs += 1
    await scene.speaking.say(scene.room, ann, Saying("2", "two"))
    assert scene.people.looked_up == 2


@pytest.mark.parametrize("by", ["signal", "entry"])
async def test_a_change_that_is_heard_during_a_look_up_is_found_by_it(by: str) -> None:
    scene = Scene(Conditions())

    def ban() -> None:
        scene.people.standing = Standing(banned_until=FOR_GOOD, banned=True)
        if by == "signal":
            scene.room.signalled(StandingTouched(user_id=ANN.user_id).model_dump_json().encode())
        else:
            cleared = Cleared(user_id=ANN.user_id, username=ANN.name, cleared_at=datetime.now(UTC))
            scene.room._take(Entry(1, to_body(cleared)))

    scene.people.meanwhile = [ban]
    ann = await scene.speaking.introduce(scene.room, ANN)
    assert ann.standing == scene.people.standing
    await scene.speaking.say(scene.room, ann, Saying("1", "one"))
    assert scene.people.looked_up == 2, "what was found last is believed"


async def test_a_look_up_ends_though_changes_do_not_and_the_next_message_looks_again() -> None:
    scene = Scene(Conditions())
    change = StandingTouched(user_id=uuid4()).model_dump_json().encode()
    scene.people.meanwhile = [lambda: scene.room.signalled(change)] * LOOK_UPS_MAX
    ann = await scene.speaking.introduce(scene.room, ANN)
    assert ann.standing == Standing()
    assert scene.people.looked_up == LOOK_UPS_MAX
    await scene.speaking.say(scene.room, ann, Saying("1", "one"))
    assert scene.people.looked_up == LOOK_UPS_MAX + 1


async def test_who_is_known_speaks_on_while_the_tables_are_away_and_strangers_wait() -> None:
    scene = Scene(Conditions())
    ann = await scene.speaking.introduce(scene.room, ANN)
    scene.people.away = True
    scene.room.resyncs += 1
    await scene.speaking.say(scene.room, ann, Saying("1", "one"))
    stranger = await scene.speaking.introduce(scene.room, Caller(uuid4(), "bob"))
    with pytest.raises(Refused) as refused:
        await scene.speaking.say(scene.room, stranger, Saying("1", "hello"))
    assert refused.value.code == "unavailable"
    scene.people.away = False
    await scene.speaking.say(scene.room, stranger, Saying("1", "hello"))
    assert scene.said() == 2


async def test_an_answer_to_what_is_not_there_is_refused() -> None:
    scene = Scene(Conditions())
    ann = await scene.speaking.introduce(scene.room, ANN)
    with pytest.raises(Refused) as refused:
        await scene.speaking.say(scene.room, ann, Saying("1", "what?", reply_to=uuid4()))
    assert refused.value.code == "reply-not-found"
    assert scene.said() == 0
