"""The presence's twin without a server, for tests."""

import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from chat.errors import BrokerUnavailable
from chat.presence.presence import BELIEVED_SECONDS, Present, PresentPage


class MemoryPresence:
    """Who is where. ``clock`` gives seconds and may be turned by hand; ``away``: nothing is answered."""

    def __init__(
        self, *, believed_seconds: float = BELIEVED_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._believed_seconds = believed_seconds
        self._clock = clock
        self._rooms: dict[UUID, dict[tuple[str, UUID], tuple[float, Present]]] = {}
        self.away = False

    async def note(self, people: Mapping[UUID, Sequence[Present]]) -> None:
        """See the port."""
        self._reach()
        until = self._clock() + self._believed_seconds
        for room, those in people.items():
            here = self._rooms.setdefault(room, {})
            here.update({(person.username, person.user_id): (until, person) for person in those})

    async def page(
        self, room: UUID, *, after: tuple[str, UUID] | None = None, prefix: str = "", people_max: int
    ) -> PresentPage:
        """See the port."""
        self._reach()
        now = self._clock()
        here = {place: person for place, (until, person) in self._rooms.get(room, {}).items() if until > now}
        found = sorted(place for place in here if place[0].startswith(prefix) and (after is None or place > after))
        return PresentPage(tuple(here[place] for place in found[:people_max]), len(here))

    def _reach(self) -> None:
        if self.away:
            raise BrokerUnavailable("the presence is away")
