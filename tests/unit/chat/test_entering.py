"""Entering a room takes some looking up; what happens to the room meanwhile is not missed."""

import asyncio
from uuid import UUID

from chat.rooms.rooms import ROOM_LINGER_SECONDS
from chat.rooms.signals import StandingTouched
from chat.speaking.standing import FOR_GOOD, OwnersAlone, Standing
from tests.integration.chat.gateways import eventually
from tests.unit.chat.test_gateway import BOB, ROOM, read, site_of


class Silenced(OwnersAlone):
    """Everybody, from a moment on."""

    def __init__(self) -> None:
        self.silenced = False
        self.looked_up = asyncio.Event()

    async def find(self, room: UUID, user: UUID) -> Standing:
        self.looked_up.set()
        return Standing(banned_until=FOR_GOOD, banned=True) if self.silenced else await super().find(room, user)


async def test_who_is_banned_between_being_looked_up_and_being_in_the_room_is_told() -> None:
    standings = Silenced()
    async with site_of(standings=standings) as site:
        _, here = await site.join()
        (room,) = site.rooms.open_rooms()
        # The room waits a little for what it may not have heard yet.
        joining = asyncio.create_task(site.join("bob", since={"offset": here["offset"] + 1, "epoch": here["epoch"]}))
        await standings.looked_up.wait()
        standings.silenced = True
        room.signalled(StandingTouched(user_id=BOB.user_id).model_dump_json().encode())
        bob, joined = await joining
        assert not joined["standing"]["banned"]
        assert (await read(bob, "standing"))["standing"]["banned"]


async def test_a_room_that_somebody_is_entering_is_not_closed() -> None:
    async with site_of() as site:
        ws, _ = await site.join()
        (room,) = site.rooms.open_rooms()
        await ws.close()
        await eventually(lambda: not room.members_count)
        room.empty_since -= ROOM_LINGER_SECONDS + 1
        await site.rooms.open(ROOM)
        await site.rooms._sweep()
        assert site.rooms.open_rooms() == [room]
        room.empty_since -= ROOM_LINGER_SECONDS + 1
        await site.rooms._sweep()
        assert site.rooms.open_rooms() == [], "nobody came"
