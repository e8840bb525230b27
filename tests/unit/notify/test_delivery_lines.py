"""What a worker has taken: providers take turns, a slow one has its share and no more."""

from datetime import UTC, datetime
from uuid import uuid4

from notify.deliveries.delivery import Delivery
from notify.deliveries.lines import Leased, Lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = uuid4()


def some(provider: str, number: int, *, start_by: float = 100.0) -> list[Leased]:
    return [
        Leased(Delivery(n, uuid4(), uuid4(), uuid4(), uuid4(), provider, 0, NOW, NOW, None), LEASE, start_by)
        for n in range(number)
    ]


def lines(*, room: int = 100, at_once: int = 2) -> Lines:
    return Lines(room_max=room, sends_per_provider_max=at_once)


def providers(of: Lines, number: int) -> list[str | None]:
    found = [of.next() for _ in range(number)]
    return [None if one is None else one.delivery.provider for one in found]


def test_providers_take_turns_and_none_has_more_than_its_share_under_way() -> None:
    waiting = lines()
    waiting.add([*some("slow", 10), *some("fast", 10)])
    assert providers(waiting, 5) == ["slow", "fast", "slow", "fast", None]
    waiting.done("fast")
    assert providers(waiting, 2) == ["fast", None]
    assert waiting.waiting == 15


def test_everything_gets_its_turn_once() -> None:
    waiting = lines(at_once=3)
    wanted = [*some("a", 7), *some("b", 1), *some("c", 4)]
    waiting.add(wanted)
    seen = []
    while (one := waiting.next()) is not None:
        seen.append(one)
        waiting.done(one.delivery.provider)
    assert sorted(map(id, seen)) == sorted(map(id, wanted))
    assert dict(waiting.rooms(0)) == {}


def test_a_paused_provider_gives_back_what_waits_and_takes_nothing() -> None:
    waiting = lines()
    waiting.add([*some("busy", 5), *some("ok", 1)])
    first = waiting.next()
    assert first is not None
    assert len(waiting.pause("busy", until=50.0)) == 4
    assert providers(waiting, 2) == ["ok", None]
    waiting.done("busy")
    waiting.done("ok")
    assert waiting.is_paused("busy", 49)
    assert dict(waiting.rooms(49)) == {"busy": 0}
    assert not waiting.is_paused("busy", 50)
    assert dict(waiting.rooms(50)) == {}
    assert waiting.waiting == 0


def test_less_is_taken_for_a_provider_that_cannot_keep_up_and_more_again_when_it_can() -> None:
    waiting = lines(room=100, at_once=2)
    waiting.add([*some("slow", 10, start_by=10.0), *some("slow", 5, start_by=20.0)])
    late = waiting.next()
    assert late is not None
    given = waiting.give_back_late(late)
    assert [one.start_by for one in given] == [10.0] * 9
    assert dict(waiting.rooms(15)) == {"slow": 45}
    for _ in range(5):
        waiting.done("slow")
        assert waiting.next() is not None
    assert dict(waiting.rooms(15)) == {"slow": 100}


def test_all_is_given_back_at_the_end() -> None:
    waiting = lines()
    waiting.add([*some("a", 3), *some("b", 2)])
    assert len(waiting.give_back_all()) == 5
    assert waiting.next() is None
