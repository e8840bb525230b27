"""One connection on the live lane: what waits for it, what it has been told, and when it is cut."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from notify.follow_wants import FollowWants
from notify.live_forms import Form, LiveNotice

TOLD_NOTICES_MAX = 1_000
"""How many notices a client's connection remembers, so that a repeated one is not told twice."""


class Following(NamedTuple):
    """A channel that somebody is told of: since when, and which of its notices."""

    since: datetime
    wants: FollowWants = FollowWants()


class Outlet(Protocol):
    """Where a client's bytes go."""

    def take(self, frames: bytes) -> bool:
        """Write whole frames without waiting; False: not now."""
        ...


class LiveClient:
    """A connected person's queue. Offering never waits: a client that does not keep up is cut, and costs nobody else.

    While nothing is queued a frame goes to the outlet at once; else it waits for whoever calls `next_frames`.

    From its creation until `release` it holds back what is offered, while what it missed is looked up, so that notices
    arrive in the order of their ids wherever possible.

    Attributes:
        floor: a stored notice up to this id has been told to the person, or is older than the connection.
        form: how it is told things.
        follows: what the person is told of, as far as this process knows.
        cut_reason: why the connection is to end; None while it goes on.
        on_cut: called once with the reason.
        ready: set when the client was released or cut.
    """

    def __init__(self, user_id: UUID, *, floor: UUID, queue_notices_max: int, form: Form) -> None:
        self.user_id = user_id
        self.floor = floor
        self.form = form
        self.follows: dict[UUID, Following] = {}
        self.cut_reason: str | None = None
        self.on_cut: Callable[[str], None] = lambda _reason: None
        self.ready = asyncio.Event()
        self._queue_notices_max = queue_notices_max
        self._frames: deque[bytes] = deque()
        self._held: list[LiveNotice] | None = []
        self._told: OrderedDict[int, None] = OrderedDict()  # by number: hashing an UUID costs a call into Python
        self._highest = floor.int
        self._outlet: Outlet | None = None
        self._changed = asyncio.Event()

    def open(self, outlet: Outlet) -> None:
        """Let frames go out, those that are queued first."""
        self._outlet = outlet

    def offer(self, live: LiveNotice) -> None:
        """Put a notice into the queue unless it has been told; cuts the client when the queue is full."""
        if self.cut_reason is not None or live.number in self._told:
            return
        if len(self._frames if self._held is None else self._held) >= self._queue_notices_max:
            self.cut("slow")
        elif self._held is not None:
            self._held.append(live)
        else:
            self._tell(live)

    def offer_stored(self, live: LiveNotice) -> None:
        """Offer a notice from the stored lane: one up to the floor is no news to this client."""
        if live.number > self.floor.int:
            self.offer(live)

    def remember(self, notice_ids: Iterable[UUID]) -> None:
        """Take these notices for told."""
        for notice_id in notice_ids:
            self._remember(notice_id.int)

    def release(self, missed: Iterable[LiveNotice]) -> None:
        """Tell what was missed, oldest first, then what came meanwhile; from now on notices are told as they come.

        The missed notices are bounded by whoever looked them up, so they do not count as falling behind.
        """
        if self.cut_reason is not None:
            return
        held, self._held = self._held or [], None
        for live in [*missed, *held]:
            if live.number not in self._told:
                self._tell(live)
        self.ready.set()

    def put(self, frame: bytes) -> None:
        """Send a frame, behind those that wait."""
        if not self._frames and self._outlet is not None and self._outlet.take(frame):
            return
        self._frames.append(frame)
        self._changed.set()

    def cut(self, reason: str) -> None:
        """End the connection: the queue is dropped, and whoever waits for frames gets none."""
        if self.cut_reason is None:
            self.cut_reason = reason
            self._frames.clear()
            self._held = None
            self._changed.set()
            self.ready.set()
            self.on_cut(reason)

    async def next_frames(self) -> bytes | None:
        """Wait for frames; all there are, as one piece. None: the client was cut."""
        while not self._frames and self.cut_reason is None:
            self._changed.clear()
            await self._changed.wait()
        if self.cut_reason is not None:
            return None
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames

    def _tell(self, live: LiveNotice) -> None:
        self._remember(live.number)
        in_order = live.number > self._highest
        if in_order:
            self._highest = live.number
        self.put(self.form.notice(live, in_order=in_order))

    def _remember(self, number: int) -> None:
        self._told[number] = None
        if len(self._told) > TOLD_NOTICES_MAX:
            self._told.popitem(last=False)
