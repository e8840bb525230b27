"""Who hears of which channel."""

from datetime import timedelta
from uuid import UUID

import pytest

from notify.errors import LiveConnectionsFull, TooManyConnections
from notify.live_client import LiveClient
from notify.live_registry import RECENT_SECONDS, LiveRegistry
from tests.unit.notify.people import CHANNEL, START, client, notice

EARLIER = START - timedelta(days=1)
OTHER_CHANNEL = UUID(int=8)


def registry(connections_max: int = 10, connections_per_user_max: int = 3) -> LiveRegistry:
    return LiveRegistry(connections_max=connections_max, connections_per_user_max=connections_per_user_max)


def connected(where: LiveRegistry, *, user: int = 1, follows: tuple[UUID, ...] = (CHANNEL,)) -> LiveClient:
    listener = client(user=user)
    where.admit(listener)
    where.listen(listener, [(channel_id, EARLIER) for channel_id in follows])
    listener.release([])
    return listener


def heard(listener: LiveClient) -> int:
    return sum(frame.count(b"event: notice") for frame in listener._frames)


def test_only_followers_of_the_channel_are_told() -> None:
    where = registry()
    follower, other = connected(where), connected(where, user=2, follows=(OTHER_CHANNEL,))
    assert where.tell(notice(1)) == 1
    assert (heard(follower), heard(other)) == (1, 0)


def test_who_followed_after_the_start_is_not_told_of_it() -> None:
    where = registry()
    follower = connected(where, follows=())
    where.change_follow(follower.user_id, CHANNEL, START + timedelta(seconds=5))
    assert where.tell(notice(4)) == 0
    assert where.tell(notice(6)) == 1


def test_following_and_unfollowing_reach_every_connection_of_the_person() -> None:
    where = registry()
    first, second = connected(where, follows=()), connected(where, follows=())
    where.change_follow(first.user_id, CHANNEL, EARLIER)
    where.tell(notice(1))
    where.change_follow(first.user_id, CHANNEL, None)
    where.tell(notice(2))
    assert (heard(first), heard(second)) == (1, 1)


def test_an_unfollow_while_the_follows_are_read_wins_over_what_was_read() -> None:
    where = registry()
    listener = client()
    where.admit(listener)
    where.change_follow(listener.user_id, CHANNEL, None)
    where.change_follow(listener.user_id, OTHER_CHANNEL, EARLIER)
    where.listen(listener, [(CHANNEL, EARLIER)])
    assert listener.follows == {OTHER_CHANNEL: EARLIER}


def test_reading_follows_again_drops_those_that_are_gone_and_keeps_changes_made_meanwhile() -> None:
    where = registry()
    listener = connected(where)
    where.expect_follows([listener])
    where.change_follow(listener.user_id, OTHER_CHANNEL, EARLIER)
    where.listen(listener, [])
    assert listener.follows == {OTHER_CHANNEL: EARLIER}
    assert where.tell(notice(1)) == 0


def test_a_client_that_left_is_forgotten_even_if_its_follows_arrive_later() -> None:
    where = registry()
    listener = connected(where)
    where.dismiss(listener)
    where.dismiss(listener)
    where.listen(listener, [(CHANNEL, EARLIER)])
    assert len(where) == 0
    assert where.tell(notice(1)) == 0
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


def test_recent_notices_are_remembered_for_those_who_are_being_let_in_for_a_while() -> None:
    now = 100.0
    where = LiveRegistry(connections_max=9, connections_per_user_max=9, clock=lambda: now)
    where.tell(notice(1))
    where.tell(notice(2, OTHER_CHANNEL))
    listener = connected(where)
    assert [live.notice for live in where.recent_for(listener)] == [notice(1)]
    now += RECENT_SECONDS + 1
    assert list(where.recent_for(listener)) == []


def test_people_are_listed_in_bounded_groups_with_all_their_connections() -> None:
    where = registry()
    for user in (1, 1, 2, 3):
        connected(where, user=user, follows=())
    groups = [[listener.user_id.int for listener in group] for group in where.clients_by_user(2)]
    assert groups == [[1, 1, 2], [3]]


def test_a_slow_client_costs_the_others_nothing() -> None:
    where = registry()
    slow, quick = connected(where), connected(where, user=2)
    for seconds in range(1, 10):
        where.tell(notice(seconds))
        quick._frames.clear()
    assert slow.cut_reason == "slow"
    assert quick.cut_reason is None
