"""How attempts went, kept from the moment of the answer until the engine has settled the batch."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

KEPT_MAX = 20_000
"""Far more than are under way at once; what an engine that failed never settled is pushed out."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `seconds` is how long it took; `status` None: there was no answer; `excerpt` begins the answer."""

    at: datetime
    seconds: float
    status: int | None
    excerpt: str | None


class Attempts:
    """The latest attempt of each delivery under way."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Attempt] = OrderedDict()

    def keep(self, delivery_id: int, attempt: Attempt) -> None:
        """Remember how it went."""
        self._kept[delivery_id] = attempt
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def take(self, delivery_id: int) -> Attempt | None:
        """How it went; None: it was not tried."""
        return self._kept.pop(delivery_id, None)
