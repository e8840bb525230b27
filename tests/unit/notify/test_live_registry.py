"""Who hears of which channel."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from notify.errors import LiveConnectionsFull, TooManyConnections
from notify.follow_wants import FollowWants
from notify.live_client import Following, LiveClient
from notify.live_registry import CLIENTS_PER_SHARD, LiveRegistry
from tests.unit.notify.people import CHANNEL, SINCE_YESTERDAY, START, client, notice

OTHER_CHANNEL = UUID(int=8)


def registry(connections_max: int = 10, connections_per_user_max: int = 3) -> LiveRegistry:
    return LiveRegistry(connections_max=connections_max, connections_per_user_max=connections_per_user_max)


def connected(where: LiveRegistry, *, user: int = 1, follows: tuple[UUID, ...] = (CHANNEL,)) -> LiveClient:
    listener = client(user=user)
    where.admit(listener)
    where.listen(listener, dict.fromkeys(follows, SINCE_YESTERDAY))
    listener.release([])
    return listener


def heard(listener: LiveClient) -> int:
    return sum(frame.count(b"event: notice") for frame in listener._frames)


async def test_only_followers_of_the_channel_are_told() -> None:
    where = registry()
    follower, other = connected(where), connected(where, user=2, follows=(OTHER_CHANNEL,))
    assert await where.tell(notice(1)) == 1
    assert (heard(follower), heard(other)) == (1, 0)


async def test_who_followed_after_the_start_is_not_told_of_it() -> None:
    where = registry()
    follower = connected(where, follows=())
    where.change_follow(follower.user_id, CHANNEL, Following(START + timedelta(seconds=5)))
    assert await where.tell(notice(4)) == 0
    assert await where.tell(notice(6)) == 1


async def test_following_and_unfollowing_reach_every_connection_of_the_person() -> None:
    where = registry()
    first, second = connected(where, follows=()), connected(where, follows=())
    where.change_follow(first.user_id, CHANNEL, SINCE_YESTERDAY)
    await where.tell(notice(1))
    where.change_follow(first.user_id, CHANNEL, None)
    await where.tell(notice(2))
    assert (heard(first), heard(second)) == (1, 1)


def test_an_unfollow_while_the_follows_are_read_wins_over_what_was_read() -> None:
    where = registry()
    listener = client()
    where.admit(listener)
    where.change_follow(listener.user_id, CHANNEL, None)
    where.change_follow(listener.user_id, OTHER_CHANNEL, SINCE_YESTERDAY)
    where.listen(listener, {CHANNEL: SINCE_YESTERDAY})
    assert listener.follows == {OTHER_CHANNEL: SINCE_YESTERDAY}


async def test_reading_follows_again_drops_those_that_are_gone_and_keeps_changes_made_meanwhile() -> None:
    where = registry()
    listener = connected(where)
    where.expect_follows([listener])
    where.change_follow(listener.user_id, OTHER_CHANNEL, SINCE_YESTERDAY)
    where.listen(listener, {})
    assert listener.follows == {OTHER_CHANNEL: SINCE_YESTERDAY}
    assert await where.tell(notice(1)) == 0


async def test_a_client_that_left_is_forgotten_even_if_its_follows_arrive_later() -> None:
    where = registry()
    listener = connected(where)
    where.dismiss(listener)
    where.dismiss(listener)
    where.listen(listener, {CHANNEL: SINCE_YESTERDAY})
    assert len(where) == 0
    assert await where.tell(notice(1)) == 0
    assert list(where.clients_by_user(10)) == []
    assert not where._by_channel


def test_a_person_has_a_bounded_number_of_connections() -> None:
    where = registry(connections_per_user_max=2)
    connected(where), connected(where)
    with pytest.raises(TooManyConnections):
        where.admit(client())
    connected(where, user=2)


def test_a_process_has_a_bounded_number_of_connections() -> None:
    where = registry(connections_max=2)
    first = connected(where)
    connected(where, user=2)
    with pytest.raises(LiveConnectionsFull):
        where.admit(client(user=3))
    where.dismiss(first)
    connected(where, user=3)


async def test_a_notice_that_a_follower_does_not_want_is_not_told() -> None:
    where = registry()
    chess, everything = connected(where, follows=()), connected(where, user=2)
    wants = FollowWants(categories=("chess",))
    where.change_follow(chess.user_id, CHANNEL, SINCE_YESTERDAY._replace(wants=wants))
    for seconds, category in enumerate(("chess", "go", None), 1):
        await where.tell(notice(seconds).model_copy(update={"category": category}))
    assert (heard(chess), heard(everything)) == (1, 3)


async def test_recordings_are_told_to_those_who_asked_for_them() -> None:
    where = registry()
    asked, other = connected(where, follows=()), connected(where, user=2)
    where.change_follow(asked.user_id, CHANNEL, SINCE_YESTERDAY._replace(wants=FollowWants(recordings=True)))
    recording = notice(1).model_copy(update={"kind": "recording.published"})
    assert await where.tell(recording) == 1
    assert (heard(asked), heard(other)) == (1, 0)


async def test_everybody_of_a_large_channel_is_told_and_others_get_their_turn_in_between() -> None:
    count = CLIENTS_PER_SHARD * 2 + 1
    where = registry(connections_max=count)
    crowd = [connected(where, user=number) for number in range(count)]
    telling = asyncio.create_task(where.tell(notice(1)))
    shards = []
    while not telling.done():
        await asyncio.sleep(0)
        shards.append(sum(map(heard, crowd)))
    assert shards[:3] == [CLIENTS_PER_SHARD, CLIENTS_PER_SHARD * 2, count]
    assert telling.result() == count


def test_the_clients_of_some_people_are_found_among_all() -> None:
    where = registry()
    ones = [connected(where, user=user) for user in (1, 1, 2, 3)]
    found = [listener for group in where.clients_of({UUID(int=1), UUID(int=3), UUID(int=9)}, 1) for listener in group]
    assert set(found) == {ones[0], ones[1], ones[3]}
    assert where.is_connected(UUID(int=2))
    assert not where.is_connected(UUID(int=9))


def test_people_are_listed_in_bounded_groups_with_all_their_connections() -> None:
    where = registry()
    for user in (1, 1, 2, 3):
        connected(where, user=user, follows=())
    groups = [[listener.user_id.int for listener in group] for group in where.clients_by_user(2)]
    assert groups == [[1, 1, 2], [3]]


async def test_a_slow_client_costs_the_others_nothing() -> None:
    where = registry()
    slow, quick = connected(where), connected(where, user=2)
    for seconds in range(1, 10):
        await where.tell(notice(seconds))
        quick._frames.clear()
    assert slow.cut_reason == "slow"
    assert quick.cut_reason is None
