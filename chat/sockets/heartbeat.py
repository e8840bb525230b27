"""Pings the silent WebSockets of a gateway, and drops those that do not answer.

All share one timer and a wheel of slots instead of a task and several timers for each. A connection is looked at when
its slot comes: heard of meanwhile, it moves on without a ping. Any bytes from a client count as an answer, as in
aiohttp's own heartbeat.
"""

import asyncio
import time
from typing import Final, Protocol

from chat.sockets.fanout import Receiver, broadcast
from runtime.backoff import jittered

PING_FRAME: Final = b"\x89\x00"
STEPS_A_PING: Final = 50
ANSWER_SHARE: Final = 0.5
"""Of the time between pings: how long an answer may take."""
FIRST_SHARE: Final = 0.5
LATE_STEPS: Final = 2


class Ear(Protocol):
    """Knows when a client was last heard of."""

    heard_at: float
    """In seconds of the monotonic clock."""


class Pinged(Receiver, Protocol):
    """Who is pinged."""

    @property
    def is_silenced(self) -> bool:
        """Whether it is being closed: no more frames may go there, and whoever closes it has a time limit."""
        ...

    def abort(self) -> None:
        """End the connection at once."""
        ...


class Pulse:
    """One connection's place on the wheel."""

    __slots__ = ("client", "ear", "patience_seconds", "pinged_at", "slot")

    def __init__(self, client: Pinged, ear: Ear, patience_seconds: float) -> None:
        self.client = client
        self.ear = ear
        self.patience_seconds = patience_seconds
        """After such a silence it is pinged."""
        self.pinged_at: float | None = None
        """Null while no answer is waited for."""
        self.slot = 0


class Heartbeat:
    """Watches connections; its timer runs while there are any."""

    def __init__(self, ping_seconds: float) -> None:
        self._ping_seconds = ping_seconds
        self._answer_seconds = ping_seconds * ANSWER_SHARE
        self._step_seconds = ping_seconds / STEPS_A_PING
        self._slots: dict[int, set[Pulse]] = {}
        self._next_slot = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, client: Pinged, ear: Ear) -> Pulse:
        """Ping from now on, for the first time a little early: those who came at once are not pinged at once."""
        pulse = Pulse(client, ear, jittered(self._ping_seconds, FIRST_SHARE, 1))
        if self._timer is None:
            self._next_slot = int(time.monotonic() / self._step_seconds) + 1
            self._set_timer()
        self._place(pulse, ear.heard_at + pulse.patience_seconds)
        return pulse

    def forget(self, pulse: Pulse) -> None:
        """Ping no more."""
        slot = self._slots.get(pulse.slot)
        if slot is not None:
            slot.discard(pulse)
            if not slot:
                del self._slots[pulse.slot]

    def _place(self, pulse: Pulse, due_at: float) -> None:
        pulse.slot = max(int(due_at / self._step_seconds) + 1, self._next_slot)
        self._slots.setdefault(pulse.slot, set()).add(pulse)

    def _set_timer(self) -> None:
        seconds = self._next_slot * self._step_seconds - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._beat)

    def _beat(self) -> None:
        if not self._slots:
            self._timer = None
            return
        now = time.monotonic()
        first, self._next_slot = self._next_slot, int(now / self._step_seconds) + 1
        self._set_timer()
        due = [pulse for slot in range(first, self._next_slot) for pulse in self._slots.pop(slot, ())]
        # After a time in which nothing was read, an answer may be there unread.
        late = self._next_slot - first > LATE_STEPS
        broadcast([pulse.client for pulse in due if self._wants_ping(pulse, now, late=late)], PING_FRAME)

    def _wants_ping(self, pulse: Pulse, now: float, *, late: bool) -> bool:
        """Whether to ping it now; who did not answer is dropped, and who stays is placed anew."""
        if pulse.client.is_silenced:
            return False
        heard_at = pulse.ear.heard_at
        if pulse.pinged_at is not None and heard_at < pulse.pinged_at:
            if late:
                self._place(pulse, now)
            else:
                pulse.client.abort()
            return False
        pulse.pinged_at = None
        ping_at = heard_at + pulse.patience_seconds
        if ping_at > now:
            self._place(pulse, ping_at)
            return False
        pulse.patience_seconds = self._ping_seconds
        pulse.pinged_at = now
        self._place(pulse, now + self._answer_seconds)
        return True
