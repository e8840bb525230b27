"""Who may connect to a gateway at all: known origins, within the limits per process, per address and per user."""

from collections import Counter
from uuid import UUID

from aiohttp import web

from chat import metrics
from chat.errors import TooManyConnections, TooManyFromAddress
from runtime.client_address import ClientAddresses
from runtime.websockets import AllowedOrigins, OriginNotAllowed

RETRY_AFTER_SECONDS = 5


class Admission:
    """Counts connections and refuses what is too much, before the upgrade."""

    def __init__(
        self,
        *,
        origins: AllowedOrigins,
        addresses: ClientAddresses,
        connections_max: int,
        connections_per_address_max: int,
        connections_per_user_max: int,
    ) -> None:
        self._origins = origins
        self._addresses = addresses
        self._connections_max = connections_max
        self._connections_per_address_max = connections_per_address_max
        self._connections_per_user_max = connections_per_user_max
        self._per_address: Counter[str] = Counter()
        self._per_user: Counter[UUID] = Counter()
        self._connections = 0

    def admit(self, request: web.Request) -> "Place":
        """A place for the connection; raises OriginNotAllowed, and on entering what `Place` does."""
        self._check_origin(request.headers.get("Origin"))
        return self.admit_address(self.address_of(request))

    def admit_address(self, address: str) -> "Place":
        """A place for a connection that is no browser's."""
        return Place(self, address)

    def take(self, address: str) -> None:
        """Count a connection; raises TooManyConnections or TooManyFromAddress."""
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

    def give_back(self, address: str) -> None:
        """The connection is gone."""
        self._connections -= 1
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        metrics.connections.set(self._connections)

    def admit_user(self, user_id: UUID) -> bool:
        """Take a place for a connection of this user, if one is left; give it back with `release_user`."""
        if self._per_user[user_id] >= self._connections_per_user_max:
            metrics.refused_connections.labels("user").inc()
            return False
        self._per_user[user_id] += 1
        return True

    def release_user(self, user_id: UUID) -> None:
        """The connection is gone."""
        self._per_user[user_id] -= 1
        if not self._per_user[user_id]:
            del self._per_user[user_id]

    def _check_origin(self, origin: str | None) -> None:
        if not self._origins.allow(origin):
            metrics.refused_connections.labels("origin").inc()
            raise OriginNotAllowed("pages of this origin may not connect")

    def address_of(self, request: web.Request) -> str:
        """Whom a connection is counted for."""
        return self._addresses.of(request)


class Place:
    """One connection, held by a `with`; raises TooManyConnections or TooManyFromAddress on entering.

    A class and no generator, because it lives as long as the connection: 60 bytes instead of 700.
    """

    __slots__ = ("_address", "_admission")

    def __init__(self, admission: Admission, address: str) -> None:
        self._admission = admission
        self._address = address

    def __enter__(self) -> None:
        self._admission.take(self._address)

    def __exit__(self, *_: object) -> None:
        self._admission.give_back(self._address)
