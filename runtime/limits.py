"""How often a person or an address may do something: every rate limit of the system, declared once, and the port.

An endpoint names its limit (`@endpoint(..., limit=LOGINS)`); who says nothing has `API`, and `limit=None` is a
decision: hooks of media servers, what other processes ask, and answers so cheap that counting would cost more.
The amounts are settings (`LIVESTREAM_LIMIT_API_PER_MINUTE`); what is here are their defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.problems import Unavailable

MINUTE_SECONDS = 60
HOUR_SECONDS = 3_600
LIMIT_MAX = 100_000
"""What an amount may be set to: Redis keeps about 10 bytes for each request in a window."""
_UNITS = {MINUTE_SECONDS: "minute", HOUR_SECONDS: "hour"}


@dataclass(frozen=True)
class Limit:
    """At most `amount` requests in any `seconds`, for each user or for each address.

    `per="user"` counts who is not logged in by their address. `away` is what happens while nobody can count: `open`
    lets requests through, `closed` refuses them with 503.
    """

    name: str
    amount: int
    seconds: int
    per: Literal["user", "address"]
    away: Literal["open", "closed"] = "open"
    for_what: str = ""

    @property
    def field(self) -> str:
        """The settings field with the amount that holds."""
        return f"limit_{self.name.replace('-', '_')}_per_{self.unit}"

    @property
    def counted(self) -> str:
        """Whose requests are counted together."""
        return "user (who is not logged in: address)" if self.per == "user" else "address (IPv6: /64)"

    @property
    def unit(self) -> str:
        """What `seconds` is called."""
        return _UNITS[self.seconds]


API = Limit("api", 1_000, MINUTE_SECONDS, per="user", for_what="Requests to the API that no other limit counts")
LOGINS = Limit(
    "logins",
    10,
    MINUTE_SECONDS,
    per="address",
    away="closed",
    for_what="Tries to log in and to register",
)
STREAM_CREATIONS = Limit("stream-creations", 5, HOUR_SECONDS, per="user", for_what="Streams that are prepared")

LIMITS: Sequence[Limit] = (API, LOGINS, STREAM_CREATIONS)
"""All of them; a test holds that each has its settings field, and that no endpoint has another."""


@dataclass(frozen=True)
class Verdict:
    """What the count says about one request: `remaining` more may follow within `reset_seconds`.

    `reset_seconds` is the time until the oldest counted request leaves the window and makes room for another.
    """

    allowed: bool
    amount: int
    remaining: int
    reset_seconds: float


class LimiterAway(Exception):
    """Nobody can count right now."""


class LimitsNotKept(Unavailable):
    """Nobody can count right now, and this is not done uncounted."""

    type = "limits-not-kept"
    title = "This is not done while requests cannot be counted"


class Limiter(Protocol):
    """Counts requests against limits, for all processes together."""

    async def take(self, limit: Limit, subject: str) -> Verdict:
        """Count one request of `subject` unless it would be one too many; raises LimiterAway within 100 ms."""
        ...
