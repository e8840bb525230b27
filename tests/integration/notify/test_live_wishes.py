"""What people want is true of the live lane at once, on whichever process they are connected."""

from functools import partial

import pytest

from eventbus.bus_memory import MemoryBus
from notify import store
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import Listener, Person, RunningNotify, eventually, say, seed, started

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")
OFTEN = {"notify_cool_down_seconds": 0, "notify_fanouts_per_day_max": 1_000}


@pytest.fixture(autouse=True)
async def bob_and_eve_follow_ada(pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id, EVE.user_id])
    for person in (ADA, BOB, EVE):
        await store.keep_person(pool, person.user_id, person.name)


async def hears(bus: MemoryBus, listener: Listener, witness: Listener) -> bool:
    """Whether a listener is told of a stream that a witness on the same process is told of."""
    event = started(ADA)
    await say(bus, event)
    await eventually(lambda: str(event.stream_id) in witness.stream_ids)
    return str(event.stream_id) in listener.stream_ids


async def is_deaf(bus: MemoryBus, listener: Listener, witness: Listener) -> bool:
    return not await hears(bus, listener, witness)


async def change(notify: RunningNotify, method: str, path: str, person: Person, **body: object) -> None:
    status, answer = await notify.call(method, path, person, **({"json": body} if body else {}))
    assert status in (200, 204), answer


async def test_mute_and_block_and_preferences_are_heard_on_the_other_process(
    start_notify: StartNotify, bus: MemoryBus
) -> None:
    here, there = await start_notify(**OFTEN), await start_notify(**OFTEN)
    bob, eve = await here.listen(BOB), await here.listen(EVE)
    follow, everything = f"/api/follows/{ADA.user_id}", "/api/notifications/preferences"
    await eventually(partial(hears, bus, bob, eve))
    for path, off, on in (
        (follow, {"muted": True}, {"muted": False}),
        (follow, {"inbox": False}, {"inbox": None}),
        (follow, {"categories": ["Go"]}, {"categories": None}),
        (everything, {"inbox": False}, {"inbox": True}),
        (everything, {"muted": True}, {"muted": False}),
    ):
        await change(there, "PATCH", path, BOB, **off)
        await eventually(partial(is_deaf, bus, bob, eve))
        await change(there, "PATCH", path, BOB, **on)
        await eventually(partial(hears, bus, bob, eve))
    await change(there, "PUT", f"/api/users/me/blocks/{BOB.user_id}", ADA)
    await eventually(partial(is_deaf, bus, bob, eve))
