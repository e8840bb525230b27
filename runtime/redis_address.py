"""What LIVESTREAM_REDIS_URL says: one server, a master that Sentinels know, or a cluster.

- ``redis://user:password@host:port/number`` (``rediss`` for TLS; ``unix:///path`` for a socket)
- ``redis+sentinel://user:password@sentinel1:26379,sentinel2:26379/service/number``; credentials and number are the
  master's, ``?sentinel_password=...`` is what the Sentinels want if they want one
- ``redis+cluster://user:password@node1:6379,node2:6379``; the nodes to ask first, the others are learnt

``rediss+sentinel`` and ``rediss+cluster`` speak TLS with every server.
"""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

Mode = Literal["single", "sentinel", "cluster"]
Server = tuple[str, int]
"""Host and port."""

_MODES: dict[str, Mode] = {
    "redis": "single", "rediss": "single", "unix": "single",
    "redis+sentinel": "sentinel", "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster", "rediss+cluster": "cluster",
}  # fmt: skip
_SENTINEL_PORT = 26379
_REDIS_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is. ``servers`` are the Sentinels or the first nodes; empty for a single server."""

    mode: Mode
    tls: bool
    servers: tuple[Server, ...] = ()
    service: str = ""
    number: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_password: str | None = None


def read_address(url: str) -> RedisAddress:
    """Understand the setting; raises ValueError that says what is wrong and repeats nothing that may be secret."""
    scheme, _, rest = url.partition("://")
    mode = _MODES.get(scheme.lower())
    if mode is None:
        raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _MODES)}")
    tls = scheme.lower().startswith("rediss")
    if mode == "single":
        return RedisAddress(mode, tls)
    # Not by urlsplit, which may refuse an IPv6 address that is not the first of several hosts.
    rest, _, query = rest.partition("#")[0].partition("?")
    netloc, _, path = rest.partition("/")
    credentials, _, hosts = netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, _, number = path.strip("/").partition("/")
    if mode == "cluster" and service not in ("", "0"):
        raise ValueError("a cluster has database 0 only, so nothing may follow its nodes")
    if mode == "sentinel" and not service:
        raise ValueError("the name that the Sentinels give the master must follow them, as in /mymaster")
    if number and not number.isdecimal():
        raise ValueError("the database after the name of the master must be a number")
    return RedisAddress(
        mode,
        tls,
        servers=_servers(hosts, _SENTINEL_PORT if mode == "sentinel" else _REDIS_PORT),
        service=unquote(service) if mode == "sentinel" else "",
        number=int(number or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_password=parse_qs(query).get("sentinel_password", [None])[0],
    )


def _servers(hosts: str, default_port: int) -> tuple[Server, ...]:
    """Hosts with ports, separated by commas; an IPv6 address stands in brackets."""
    found: list[Server] = []
    for item in filter(None, hosts.split(",")):
        try:
            parts = urlsplit(f"//{item}")
            host, port = parts.hostname, parts.port or default_port
        except ValueError as error:
            raise ValueError("the servers must be host:port, separated by commas") from error
        if not host:
            raise ValueError("the servers must be host:port, separated by commas")
        found.append((host, port))
    if not found:
        raise ValueError("no server is named")
    return tuple(found)
