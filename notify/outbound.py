"""HTTP to addresses that strangers chose: to global addresses alone, over TLS, bounded in bytes and time.

Whoever subscribes a browser or a webhook names the URL that this process then posts to. So that nobody reaches through
us what is not theirs to reach, each connection's address is looked at after the name was resolved, when the socket is
made: a name that resolves to something else the second time meets the same check. Redirects are not followed, and
proxies of the environment are not used, because both would connect to addresses that nobody looked at.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Literal, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from notify.addresses import Address, Network, is_allowed, is_exempt, is_public_name, literal_address
from notify.deliveries.settings import DeliverySettings

ANSWER_BYTES_MAX = 4_096
URL_CHARACTERS_MAX = 2_048
HEADER_BYTES_MAX = 4_096
HEADERS_MAX = 64
CONNECT_SECONDS_MAX = 5.0
LOOK_UP_SECONDS_MAX = 3.0
IDLE_CONNECTION_SECONDS_MAX = 30.0
NAMES_AT_ONCE_MAX = 32
"""Names that are resolved at once; each holds a thread until the resolver has given up."""
RETRY_AFTER_MAX = timedelta(days=1)
HTTPS_PORT = 443
FIRST_FREE_PORT = 1_024
"""Below it are the ports of what is not a web server, such as mail; 443 alone is."""

Method: TypeAlias = Literal["POST", "PUT"]
_AddressInfo: TypeAlias = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class OutboundError(Exception):
    """Base of what `Outbound` raises.

    OutboundError
    ├── AddressRefused   the URL, or the address behind it, is none that may be connected to: trying again is no use
    └── OutboundFailed   no answer, or none that can be used: it may work later
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AddressRefused(OutboundError):
    """The URL, or the address behind it, is none that may be connected to."""


class OutboundFailed(OutboundError):
    """There was no answer, or none that can be used. `status` is the answer's, where there was one."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said. Every status but a redirect is an answer."""

    status: int
    headers: Mapping[str, str]
    """Names are matched in any case."""
    excerpt: bytes
    """The first 4 KiB of the body, as it came."""
    retry_after: timedelta | None
    """How long the other side asks to be left alone (RFC 9110, section 10.2.3), at most a day."""


class Outbound:
    """The client. It opens connections when they are needed, and is a service so that somebody closes them."""

    name = "outbound"

    def __init__(self, settings: DeliverySettings, *, names: AbstractResolver | None = None) -> None:
        """Of the settings it reads the networks that are allowed, and how many connections there may be.

        ``names`` looks up names, by default the system's resolver.
        """
        self._allow = tuple(settings.notify_outbound_allow)
        self._connections_max = settings.notify_outbound_connections_max
        self._connections_per_host_max = settings.notify_outbound_connections_per_host_max
        self._names = names or _Resolver()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Wait until cancelled, then for the requests that are under way, and close all connections."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._idle.wait()
            await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for session in list(self._sessions.values()):
            await session.close()
        self._sessions.clear()
        await self._names.close()

    async def check_url(self, url: str) -> None:
        """Whether a URL that somebody registers may be sent to; raises AddressRefused, whose `reason` is for them.

        A name that cannot be looked up at the moment is let through: what counts is the check of each connection.
        """
        target = check_url(url, self._allow)
        host = target.raw_host or ""
        if literal_address(host) is not None:
            return
        with suppress(OSError):  # a name that is not known, and a resolver that takes too long
            async with asyncio.timeout(LOOK_UP_SECONDS_MAX):
                found = await self._names.resolve(host, target.port or HTTPS_PORT)
            addresses = [ip_address(one["host"].partition("%")[0]) for one in found]
            if not any(self._is_allowed(address, target.scheme) for address in addresses):
                raise AddressRefused("the address behind the name is not one of the public Internet")

    def _is_allowed(self, address: Address, scheme: str) -> bool:
        return is_exempt(address, self._allow) if scheme != "https" else is_allowed(address, self._allow)

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], seconds_max: float, method: Method = "POST"
    ) -> Answer:
        """Post (or put) once, over within ``seconds_max`` whatever the other side does.

        Raises AddressRefused for what may not be connected to, OutboundFailed for everything that gives no answer.
        """
        target = check_url(url, self._allow)
        self._under_way += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(seconds_max):
                return await self._post(method, target, body, headers)
        except TimeoutError as error:
            raise OutboundFailed(f"no answer within {seconds_max:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OutboundFailed(_reason(error)) from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _post(self, method: Method, target: URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        session = self._session(target.scheme)
        sent = {"Accept-Encoding": "identity", **headers}
        async with session.request(method, target, data=body, headers=sent, allow_redirects=False) as response:
            if 300 <= response.status < 400:
                response.close()
                raise OutboundFailed(
                    f"answered with a redirect ({response.status}), which is not followed", status=response.status
                )
            excerpt = await _beginning(response)
            retry_after = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            return Answer(response.status, response.headers, excerpt, retry_after)

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        session = self._sessions.get(scheme)
        if session is None:
            session = self._sessions[scheme] = self._open_session(needs_exemption=scheme != "https")
        return session

    def _open_session(self, *, needs_exemption: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._names,
            socket_factory=guarded_sockets(self._allow, needs_exemption=needs_exemption),
            # one address after the other: an address that is refused ends the attempt
            happy_eyeballs_delay=None,
            limit=self._connections_max,
            limit_per_host=self._connections_per_host_max,
            keepalive_timeout=IDLE_CONNECTION_SECONDS_MAX,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX),
            trust_env=False,
            # what came compressed stays so: a few bytes could become very many
            auto_decompress=False,
            read_bufsize=ANSWER_BYTES_MAX,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            headers={"User-Agent": "LiveStream"},
        )


def check_url(url: str, allow: Sequence[Network] = ()) -> URL:
    """The URL if its text is that of one to send to; raises AddressRefused. What a name resolves to is not asked."""
    if len(url) > URL_CHARACTERS_MAX:
        raise AddressRefused(f"longer than {URL_CHARACTERS_MAX} characters")
    if not url.isascii() or any(character <= " " or character == "\\" for character in url):
        raise AddressRefused("holds characters that a URL has none of")
    try:
        target = URL(url, encoded=True)
        host, port = target.raw_host, target.port
    except ValueError as error:
        raise AddressRefused("not a URL") from error
    if target.scheme not in ("https", "http") or not host or port is None:
        raise AddressRefused("not an https: URL")
    if target.raw_user is not None or target.raw_password is not None:
        raise AddressRefused("holds a name or a password")
    if target.raw_fragment:
        raise AddressRefused("has a fragment, which is never sent")
    _check_host(target.scheme, host, port, allow)
    return target


def _check_host(scheme: str, host: str, port: int, allow: Sequence[Network]) -> None:
    address = literal_address(host)
    if address is not None and is_exempt(address, allow):
        return
    if allow and address is None:
        return  # it may be the name of an address that is allowed: what it resolves to is looked at
    if scheme != "https":
        raise AddressRefused("not an https: URL")
    if not _is_port_allowed(port):
        raise AddressRefused(f"port {port} is not {HTTPS_PORT} and not {FIRST_FREE_PORT} or above")
    if address is not None and not is_allowed(address):
        raise AddressRefused("the address is not one of the public Internet")
    if address is None and not is_public_name(host):
        raise AddressRefused("the host is not one of the public Internet")


def guarded_sockets(allow: Sequence[Network], *, needs_exemption: bool) -> Callable[[_AddressInfo], socket.socket]:
    """Makes sockets for addresses that may be connected to, and raises AddressRefused for the others.

    ``needs_exemption``: global addresses do not suffice, only those in ``allow``, which may be sent to without TLS.
    """

    def make(found: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, place = found
        address = ip_address(str(place[0]).partition("%")[0])
        exempt = is_exempt(address, allow)
        if needs_exemption and not exempt:
            raise AddressRefused("without TLS, and the address is not one that is allowed for it")
        if not exempt and not (is_allowed(address) and _is_port_allowed(int(place[1]))):
            raise AddressRefused("the address behind the name is not one of the public Internet")
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


def _is_port_allowed(port: int) -> bool:
    return port == HTTPS_PORT or port >= FIRST_FREE_PORT


class _Resolver(AbstractResolver):
    """The system's resolver in threads of its own: a name that takes long holds up other names, and nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=NAMES_AT_ONCE_MAX, thread_name_prefix="outbound-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; raises OSError (gaierror) when there are none."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(place[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        """Take no more names; threads that wait for a resolver end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the body; a longer one is cut off together with its connection."""
    read = bytearray()
    while len(read) < ANSWER_BYTES_MAX:
        some = await response.content.read(ANSWER_BYTES_MAX - len(read))
        if not some:
            return bytes(read)
        read += some
    if not response.content.at_eof():
        response.close()
    return bytes(read)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header says, as seconds or as a date, between nothing and a day; None: it says nothing."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), RETRY_AFTER_MAX)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta()), RETRY_AFTER_MAX)


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, aiohttp.ClientResponseError):
        text = f"not an answer of HTTP: {error.message}"  # its own text repeats the URL, which may be a secret
    # what the other side sent may be in it: bytes that no table and no log takes
    return "".join(one if one.isprintable() else " " for one in text)[:300]
