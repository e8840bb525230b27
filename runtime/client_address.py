"""Whom a request comes from: the address that a limit or a bound counts."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

from runtime.websockets import comma_separated

REMEMBERED_MAX = 20_000
REMEMBERED_CHARACTERS_MAX = 200
"""Of X-Forwarded-For: some proxies and their client. A longer one, of up to a megabyte, is read and forgotten."""
IPV6_SUBSCRIBER_BITS = 64
"""One subscriber line has at least a whole /64 (RFC 6177), any address of which it may take."""


class ClientAddresses:
    """Reads addresses behind proxies that are believed, given as addresses and networks separated by commas."""

    def __init__(self, trusted_proxies: str) -> None:
        """Raises ValueError when a trusted proxy is neither an address nor a network."""
        self._trusted = tuple(ip_network(proxy) for proxy in sorted(comma_separated(trusted_proxies)))
        # The same few thousand ask again and again, and reading an address is a tenth of what a small request costs.
        self._counted = lru_cache(maxsize=REMEMBERED_MAX)(self._read)

    def of(self, request: web.Request) -> str:
        """Whom a request is counted for: the first address, from the near end, that is no trusted proxy's.

        Each proxy appends whom it heard from to X-Forwarded-For, so what stands further left may be invented.
        """
        remote, forwarded = request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", ()))
        return (self._counted if len(forwarded) <= REMEMBERED_CHARACTERS_MAX else self._read)(remote, forwarded)

    def _read(self, remote: str, forwarded: str) -> str:
        hops = [remote, *reversed(forwarded.split(","))]
        counted = hops[0]
        for hop in hops:
            address = _parsed(hop)
            if address is None:
                break
            counted = _subscriber(address)
            if not any(address in network for network in self._trusted):
                break
        return counted or "unknown"


def counted_address(text: str) -> str:
    """What a peer with this address is counted under."""
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
