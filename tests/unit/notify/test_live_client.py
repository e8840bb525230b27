"""One connection's queue: order, once, bounded."""

import asyncio

from notify.live_client import TOLD_NOTICES_MAX
from notify.notices import least_notice_id
from tests.unit.notify.people import START, client, live


def titles(frames: bytes | None) -> list[str]:
    assert frames is not None
    return [text.split('"')[0] for text in frames.decode().split('"title":"')[1:]]


async def test_notices_come_in_order_and_as_one_piece() -> None:
    listener = client()
    listener.release([])
    listener.offer(live(1))
    listener.offer(live(2))
    assert titles(await listener.next_frames()) == ["at 1", "at 2"]


async def test_a_notice_is_told_once_however_often_and_over_whichever_lane_it_comes() -> None:
    listener = client()
    listener.release([live(1)])
    listener.offer(live(1))
    listener.offer_stored(live(1))
    assert titles(await listener.next_frames()) == ["at 1"]
    listener.offer(live(1))
    listener.offer(live(2))
    assert titles(await listener.next_frames()) == ["at 2"]


async def test_what_was_missed_comes_before_what_happened_meanwhile() -> None:
    listener = client()
    listener.offer(live(5))
    listener.release([live(1), live(2), live(5)])
    assert titles(await listener.next_frames()) == ["at 1", "at 2", "at 5"]


async def test_a_late_notice_does_not_move_the_last_event_id_back() -> None:
    listener = client()
    listener.release([])
    listener.offer(live(5))
    listener.offer(live(3))
    frames = await listener.next_frames()
    assert frames is not None
    assert titles(frames) == ["at 5", "at 3"]
    assert frames.count(b"id: ") == 1
    assert frames.startswith(b"id: " + str(live(5).notice.notification_id).encode())


async def test_a_stored_notice_from_before_the_connection_is_no_news() -> None:
    listener = client(floor=live(3).notice.notification_id)
    listener.release([])
    for seconds in (2, 3, 4):
        listener.offer_stored(live(seconds))
    assert titles(await listener.next_frames()) == ["at 4"]


async def test_who_falls_too_far_behind_is_cut_and_told_so_once() -> None:
    listener = client(queue_notices_max=2)
    reasons: list[str] = []
    listener.on_cut = reasons.append
    listener.release([])
    for seconds in range(1, 5):
        listener.offer(live(seconds))
    listener.cut("gone")
    assert listener.cut_reason == "slow"
    assert reasons == ["slow"]
    assert await listener.next_frames() is None


async def test_who_is_looked_up_for_too_long_is_cut_as_well() -> None:
    listener = client(queue_notices_max=2)
    for seconds in range(1, 5):
        listener.offer(live(seconds))
    assert listener.cut_reason == "slow"
    listener.release([live(9)])
    assert await listener.next_frames() is None


class Taker:
    """An outlet that can be full."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.full = False

    def take(self, frames: bytes) -> bool:
        if not self.full:
            self.taken.append(frames)
        return not self.full


async def test_a_client_that_keeps_up_is_written_to_at_once_and_nothing_overtakes_what_waits() -> None:
    listener, outlet = client(), Taker()
    listener.put(b"first")
    listener.release([])
    listener.open(outlet)
    listener.offer(live(1))
    assert outlet.taken == []
    waiting = await listener.next_frames()
    assert waiting is not None
    assert waiting.startswith(b"first")
    assert titles(waiting) == ["at 1"]
    listener.offer(live(2))
    outlet.full = True
    listener.offer(live(3))
    outlet.full = False
    listener.offer(live(4))
    assert [titles(taken) for taken in outlet.taken] == [["at 2"]]
    assert titles(await listener.next_frames()) == ["at 3", "at 4"]


async def test_a_cut_client_is_written_nothing_more() -> None:
    listener, outlet = client(), Taker()
    listener.release([])
    listener.open(outlet)
    listener.cut("stopping")
    listener.offer(live(1))
    assert outlet.taken == []


async def test_a_cut_ends_the_wait_for_frames() -> None:
    listener = client()
    listener.release([])
    waiting = asyncio.create_task(listener.next_frames())
    await asyncio.sleep(0)
    listener.cut("stopping")
    assert await asyncio.wait_for(waiting, 10) is None
    assert listener.ready.is_set()


def test_what_a_connection_remembers_is_bounded() -> None:
    listener = client()
    listener.remember(least_notice_id(START.replace(year=year)) for year in range(1970, 1970 + TOLD_NOTICES_MAX + 50))
    assert len(listener._told) == TOLD_NOTICES_MAX
