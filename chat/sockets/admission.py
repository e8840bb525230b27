"""Who may connect to a gateway at all: known origins, within the limits per process, per address and per user."""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from uuid import UUID

from aiohttp import web

from chat import metrics
from chat.errors import TooManyConnections, TooManyFromAddress
from runtime.websockets import AllowedOrigins, OriginNotAllowed

RETRY_AFTER_SECONDS = 5
IPV6_SUBSCRIBER_BITS = 64
"""One subscriber line has at least a whole /64 (RFC 6177), any address of which it may take."""


class Admission:
    """Counts connections and refuses what is too much, before the upgrade."""

    def __init__(
        self,
        *,
        origins: AllowedOrigins,
        trusted_proxies: frozenset[str],
        connections_max: int,
        connections_per_address_max: int,
        connections_per_user_max: int,
    ) -> None:
        """Raises ValueError when a trusted proxy is neither an address nor a network."""
        self._origins = origins
        self._trusted_proxies = tuple(ip_network(proxy) for proxy in sorted(trusted_proxies))
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
        """Whom a connection is counted for: the first address, from the near end, that is no trusted proxy's.

        Each proxy appends whom it heard from to X-Forwarded-For, so what stands further left may be invented.
        """
        hops = [request.remote or "", *reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(","))]
        counted = hops[0]
        for hop in hops:
            address = _parsed(hop)
            if address is None:
                break
            counted = _subscriber(address)
            if not any(address in network for network in self._trusted_proxies):
                break
        return counted or "unknown"


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


def counted_address(text: str) -> str:
    """What the connections of a peer with this address are counted under."""
    address = _parsed(text)
    return "unknown" if address is None else _subscriber(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _subscriber(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address.packed, IPV6_SUBSCRIBER_BITS), strict=False))
    return str(address)
