"""Keeps the names of those who speak, so that moderators see and find them by name."""

from collections import OrderedDict
from uuid import UUID

import structlog

from chat.store import QUERIES
from runtime.postgres import Pool
from runtime.tokens import Caller
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

REMEMBERED_MAX = 10_000


class PostgresPeople:
    """Writes a name once, as far as it remembers. Implements the gatekeeper's `People`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._noted: OrderedDict[UUID, str] = OrderedDict()

    async def note(self, person: Caller) -> None:
        """Keep somebody's name; while that is not possible it is tried again with what they say next."""
        if self._noted.get(person.user_id) == person.name:
            return
        try:
            await QUERIES.note_person(self._pool, user_id=person.user_id, username=person.name, registered_at=None)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.info("chat_name_not_kept", user_id=str(person.user_id), reason=str(error) or type(error).__name__)
            return
        self._noted[person.user_id] = person.name
        if len(self._noted) > REMEMBERED_MAX:
            self._noted.popitem(last=False)
