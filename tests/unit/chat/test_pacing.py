"""When a room flushes: never more than its ticks allow, and at once when they allow it."""

from hypothesis import given
from hypothesis import strategies as st

from chat.rooms.pacing import Pacing

TICK = 0.1


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def flush_times(arrivals: list[float], late_seconds: float = 0.0) -> list[float]:
    """When the flushes are that tell messages of these times, with timers that late."""
    time = Time()
    pacing = Pacing(TICK, time)
    began, flushes = time.now, list[float]()
    for arrival in arrivals:
        if flushes and began + arrival <= flushes[-1]:
            continue  # told by the last one
        time.now = max(time.now, began + arrival)
        if wait := pacing.wait_seconds():
            time.now += wait + late_seconds
        pacing.flush()
        flushes.append(time.now)
    return [at - began for at in flushes]


def test_a_message_after_a_quiet_time_goes_at_once() -> None:
    assert flush_times([0.0, 5.0, 9.0]) == [0.0, 5.0, 9.0]


def test_messages_that_come_once_in_a_tick_do_not_wait_for_late_timers() -> None:
    arrivals = [number * TICK + 0.02 * (number % 3) for number in range(200)]
    waits = [flush - arrival for flush, arrival in zip(flush_times(arrivals, 0.002), arrivals, strict=True)]
    assert max(waits) < 0.01


@given(st.lists(st.floats(0.0, 0.3), max_size=200))
def test_flushes_keep_to_the_ticks(gaps: list[float]) -> None:
    arrivals, now = list[float](), 0.0
    for gap in gaps:
        now += gap
        arrivals.append(now)
    flushes = flush_times(arrivals)
    for first, start in enumerate(flushes):
        for count, at in enumerate(flushes[first:], 1):
            assert count <= (at - start) / TICK + 1.5 + 1e-6
    for arrival in arrivals:
        assert any(arrival - 1e-9 <= flush <= arrival + TICK + 1e-6 for flush in flushes)
