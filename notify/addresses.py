"""Which addresses may be connected to on behalf of strangers: global ones, in whatever form they are written."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import inet_aton
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291, section 2.4; everything else is local, multicast or not assigned
MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, section 2.5.5.2
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # RFC 3056, 4380: to wherever a relay takes them
ISATAP_MARKS = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1: the upper half of an interface's id

LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "intranet", "corp", "home")
"""Names (and what is below them) that mean something inside of a network alone."""
NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\.?", re.IGNORECASE
)


def is_allowed(address: Address, exceptions: Sequence[Network] = ()) -> bool:
    """Whether an address may be connected to: it is global in every form that it has, or in one of ``exceptions``."""
    return is_exempt(address, exceptions) or is_global(address)


def is_exempt(address: Address, exceptions: Sequence[Network]) -> bool:
    """Whether an address, or the IPv4 address that it stands for, is in one of some networks."""
    plain = _unmapped(address)
    return any(plain in network for network in exceptions)


def is_global(address: Address) -> bool:
    """Whether an address belongs to one host of the whole Internet, and so does every address that is within it."""
    address = _unmapped(address)
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in NAT64:
        return all(map(is_global, embedded(address)))
    if address not in GLOBAL_UNICAST or any(address in tunnel for tunnel in TUNNELS):
        return False
    return address.is_global and not address.is_multicast and all(map(is_global, embedded(address)))


def embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end up at."""
    number = int(address)
    if address in MAPPED or address in NAT64 or (number >> 32) & 0xFFFFFFFF in ISATAP_MARKS:
        yield IPv4Address(number & 0xFFFFFFFF)


def literal_address(host: str) -> Address | None:
    """The address that a URL's host is, in any spelling that a resolver takes; None: it is a name.

    inet_aton(3) reads `127.1`, `2130706433`, `0x7f.0.0.1` and `0177.0.0.1` as the same address.
    """
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(inet_aton(host.rstrip("."))) if host.isascii() and not host.isspace() else None
    except (OSError, ValueError):
        return None


def is_public_name(host: str) -> bool:
    """Whether a name could be of the Internet; what it resolves to is another question, asked when connecting."""
    name = host.rstrip(".").lower()
    local = any(name == one or name.endswith(f".{one}") for one in LOCAL_NAMES)
    return not local and NAME.fullmatch(host) is not None


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
