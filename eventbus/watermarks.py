"""How far each outbox may be read, as this process knows it: told at once by its own relays, else by polling."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

POLL_BUSY_SECONDS = 0.02
POLL_IDLE_SECONDS = 0.2
BUSY_FOR_SECONDS = 1.0


class Watermarks:
    """One id per schema; it only grows. Wakes who listens when one moves."""

    def __init__(self, schemas: Sequence[str], read: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        """``read`` asks Postgres for all of them."""
        self._ids = dict.fromkeys(schemas, 0)
        self._read = read
        self._listeners: set[Callable[[], None]] = set()
        self._busy_until = 0.0

    def __getitem__(self, schema: str) -> int:
        return self._ids[schema]

    def listen(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after each move; it must not wait."""
        self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Undo ``listen``."""
        self._listeners.discard(listener)

    def move(self, schema: str, record_id: int) -> bool:
        """Everything in ``schema`` up to ``record_id`` may be read; False if that is no news."""
        if record_id <= self._ids.get(schema, record_id):
            return False
        self._ids[schema] = record_id
        for listener in self._listeners:
            listener()
        return True

    async def poll(self) -> None:
        """Ask Postgres once. What is found that way is said by another process, which may go on speaking."""
        for schema, record_id in (await self._read()).items():
            if self.move(schema, record_id):
                self._busy_until = time.monotonic() + BUSY_FOR_SECONDS

    @property
    def poll_seconds(self) -> float:
        """How long to wait before the next poll."""
        return POLL_BUSY_SECONDS if time.monotonic() < self._busy_until else POLL_IDLE_SECONDS
