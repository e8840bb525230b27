"""The heartbeat pings who is silent and nobody else, and drops who does not answer."""

import asyncio
import time
from collections.abc import Callable

from chat.sockets.heartbeat import PING_FRAME, Heartbeat

PING_SECONDS = 0.25
DEADLINE_SECONDS = 10.0


class Client:
    """Answers pings or not, and remembers them; its own ear."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self.is_silenced = False
        self.heard_at = time.monotonic()
        self.pings: list[float] = []
        self.aborted_at: float | None = None

    def write(self, frames: bytes, /) -> None:
        assert frames == PING_FRAME
        self.pings.append(time.monotonic())
        if self._answers:
            asyncio.get_running_loop().call_later(0.01, self.hear)

    def hear(self) -> None:
        self.heard_at = time.monotonic()

    def abort(self) -> None:
        assert self.aborted_at is None, "it is forgotten then"
        self.aborted_at = time.monotonic()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  these clients tell nobody
            await asyncio.sleep(0.01)


async def test_who_answers_is_pinged_on_and_on_and_who_does_not_is_dropped_in_time() -> None:
    heartbeat = Heartbeat(PING_SECONDS)
    fine, deaf = Client(answers=True), Client(answers=False)
    for client in (fine, deaf):
        heartbeat.watch(client, client)
    await until(lambda: deaf.aborted_at is not None and len(fine.pings) >= 4)
    assert fine.aborted_at is None
    assert len(deaf.pings) == 1
    assert deaf.aborted_at is not None
    assert deaf.aborted_at - deaf.pings[0] >= PING_SECONDS / 2 - 0.01
    assert all(after - before >= PING_SECONDS for before, after in zip(fine.pings, fine.pings[1:], strict=False))


async def test_who_talks_is_not_pinged_and_who_left_is_forgotten() -> None:
    heartbeat = Heartbeat(PING_SECONDS)
    talking, gone, other = Client(answers=False), Client(answers=False), Client(answers=True)
    heartbeat.watch(talking, talking)
    heartbeat.forget(heartbeat.watch(gone, gone))
    heartbeat.watch(other, other)
    while len(other.pings) < 3:
        longest = time.monotonic() - talking.heard_at
        if longest > PING_SECONDS / 4:
            other.pings.clear()  # this machine was away for too long to say that somebody talked
            talking.pings.clear()
        talking.hear()
        await asyncio.sleep(0.005)
    assert not talking.pings
    assert not gone.pings
    assert gone.aborted_at is None


async def test_those_who_came_at_once_are_not_pinged_at_once() -> None:
    heartbeat = Heartbeat(PING_SECONDS)
    clients = [Client(answers=True) for _ in range(200)]
    came_at = time.monotonic()
    pulses = [heartbeat.watch(client, client) for client in clients]
    due = [pulse.patience_seconds for pulse in pulses]  # a machine that is away meanwhile pings all when it is back
    assert max(due) - min(due) > PING_SECONDS / 8
    await until(lambda: all(client.pings for client in clients))
    assert min(client.pings[0] for client in clients) - came_at >= PING_SECONDS / 2 - 0.01


async def test_an_answer_that_was_not_read_yet_after_a_pause_counts() -> None:
    """The event loop stood still longer than a client may take to answer."""
    heartbeat = Heartbeat(PING_SECONDS)
    client = Client(answers=True)
    heartbeat.watch(client, client)
    await until(lambda: client.pings)
    time.sleep(PING_SECONDS)  # noqa: ASYNC251  nothing else runs meanwhile
    await until(lambda: len(client.pings) >= 2)
    assert client.aborted_at is None


async def test_who_is_being_closed_is_left_to_whoever_closes_it() -> None:
    """Nobody reads there any more: an answer would not be heard, and the close frame has its own time limit."""
    heartbeat = Heartbeat(PING_SECONDS)
    closing, other = Client(answers=False), Client(answers=True)
    for client in (closing, other):
        heartbeat.watch(client, client)
    await until(lambda: closing.pings)
    closing.is_silenced = True
    await until(lambda: len(other.pings) >= 3)
    assert closing.aborted_at is None


async def test_a_heartbeat_starts_again_after_everybody_left() -> None:
    heartbeat = Heartbeat(PING_SECONDS)
    first, second = Client(answers=True), Client(answers=True)
    pulse = heartbeat.watch(first, first)
    await until(lambda: first.pings)
    heartbeat.forget(pulse)
    await asyncio.sleep(PING_SECONDS / 10)
    heartbeat.watch(second, second)
    await until(lambda: len(second.pings) >= 2)
