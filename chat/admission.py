"""Who may connect to a gateway at all: known origins, within the limits per process and per address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from chat import metrics
from chat.errors import TooManyConnections, TooManyFromAddress
from runtime.websockets import AllowedOrigins, OriginNotAllowed

RETRY_AFTER_SECONDS = 5


class Admission:
    """Counts connections and refuses what is too much, before the upgrade."""

    def __init__(
        self,
        *,
        origins: AllowedOrigins,
        trusted_proxies: frozenset[str],
        connections_max: int,
        connections_per_address_max: int,
    ) -> None:
        self._origins = origins
        self._trusted_proxies = trusted_proxies
        self._connections_max = connections_max
        self._connections_per_address_max = connections_per_address_max
        self._per_address: Counter[str] = Counter()
        self._connections = 0

    @contextmanager
    def admit(self, request: web.Request) -> Iterator[None]:
        """Hold a place for the connection; raises OriginNotAllowed, TooManyConnections or TooManyFromAddress."""
        self._check_origin(request.headers.get("Origin"))
        address = self._address(request)
        if self._connections >= self._connections_max:
            metrics.refused_connections.labels("gateway-full").inc()
            raise TooManyConnections("try another time", retry_after_seconds=RETRY_AFTER_SECONDS)
        if self._per_address[address] >= self._connections_per_address_max:
            metrics.refused_connections.labels("address").inc()
            raise TooManyFromAddress(
                f"at most {self._connections_per_address_max} at once", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        self._connections += 1
        self._per_address[address] += 1
        metrics.connections.set(self._connections)
        try:
            yield
        finally:
            self._connections -= 1
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]
            metrics.connections.set(self._connections)

    def _check_origin(self, origin: str | None) -> None:
        if not self._origins.allow(origin):
            metrics.refused_connections.labels("origin").inc()
            raise OriginNotAllowed("pages of this origin may not connect")

    def _address(self, request: web.Request) -> str:
        """The client's address; behind the edge the last one that the edge itself wrote down."""
        peer = request.remote or "unknown"
        forwarded = request.headers.get("X-Forwarded-For")
        if forwarded and peer in self._trusted_proxies:
            return forwarded.rpartition(",")[2].strip() or peer
        return peer
