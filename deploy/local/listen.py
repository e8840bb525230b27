"""Where the edge and RTMP ingest listen, when that is not 127.0.0.1 and the stack's own ports."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import NamedTuple

from deploy.local.errors import AddressTaken, AddressWrong


class Address(NamedTuple):
    """An IP address and a TCP port to listen on."""

    host: str
    port: int

    @property
    def is_v6(self) -> bool:
        """Whether it is an IPv6 address."""
        return ipaddress.ip_address(self.host).version == 6

    @property
    def near(self) -> Address:
        """The same listener as this machine itself reaches it."""
        if ipaddress.ip_address(self.host).is_unspecified:
            return Address("::1" if self.is_v6 else "127.0.0.1", self.port)
        return self

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_v6 else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """``0.0.0.0:8080`` or ``[::]:8080``; raises AddressWrong for anything else, names of hosts included."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        found = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise AddressWrong(text) from None
    whole = colon and port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535
    if not whole or bracketed != (found.version == 6):
        raise AddressWrong(text)
    return Address(str(found), int(port))


@dataclass(frozen=True)
class Listen:
    """Addresses that people reach the edge (HTTP) and ingest (RTMP) at, each as ``IP:PORT``."""

    http: str
    rtmp: str

    def __post_init__(self) -> None:
        if parse(self.http) == parse(self.rtmp):
            raise AddressWrong(self.rtmp, "HTTP listens there already")

    @property
    def addresses(self) -> dict[str, Address]:
        """The address of each of nginx's public ports, by the port's name."""
        return {"edge": parse(self.http), "rtmp": parse(self.rtmp)}


def check_free(part: str, use: str, address: Address) -> None:
    """Raise AddressTaken unless ``part`` can listen on ``address`` now."""
    with socket.socket(socket.AF_INET6 if address.is_v6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.is_v6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(tuple(address))
        except OSError as error:
            raise AddressTaken(part, use, str(address), address.port, _why(error)) from error


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "in use"
        case errno.EADDRNOTAVAIL:
            return "foreign"
        case errno.EACCES:
            return "privileged"
        case _:
            return str(error)
