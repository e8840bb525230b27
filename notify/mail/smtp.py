"""Sends mail by an SMTP server, over a few connections that are kept for the next mail."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from ssl import SSLContext
from typing import Literal

import structlog
from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected
from pydantic import SecretStr

from notify.mail import metrics

log = structlog.get_logger(__name__)

IDLE_SECONDS_MAX = 30.0
"""A connection that is not used for so long is closed; servers wait five minutes (RFC 5321, section 4.5.3.2.7)."""
REAP_SECONDS = 5.0
QUIT_SECONDS_MAX = 1.0
SERVICE_CLOSING = 421


class Stage(StrEnum):
    """How far a mail came before the server did not want it."""

    CONNECTING = "connecting"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


class NotSent(Exception):
    """Base of what keeps a mail from being taken.

    NotSent
    ├── NotTaken    the server answered, and did not take it
    └── NotReached  it did not answer
    """


class NotTaken(NotSent):
    """The server's answer: at which `stage`, its `code` and its `text`."""

    def __init__(self, stage: Stage, code: int, text: str) -> None:
        super().__init__(f"{stage}: {code} {text}")
        self.stage = stage
        self.code = code
        self.text = text


class NotReached(NotSent):
    """No connection, none any more, or no answer in time; whether the mail was taken is not known."""


@dataclass(frozen=True)
class SmtpServer:
    """Which server, how it is spoken to, and as whom."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    own_domain: str
    """What we call ourselves."""
    username: str | None = None
    password: SecretStr | None = None
    seconds_max: float = 10.0
    """For one answer."""
    tls_context: SSLContext | None = None
    """None: the certificates that the machine trusts."""

    @property
    def provider(self) -> str:
        """What is paused for everybody when the server asks for it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Mail:
    """What is handed to the server: envelope and content."""

    sender: str
    recipient: str
    content: bytes


@dataclass
class _Connection:
    client: SMTP
    messages: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @property
    def is_usable(self) -> bool:
        return self.client.is_connected and time.monotonic() - self.used_at < IDLE_SECONDS_MAX


class SmtpConnections:
    """A Service that closes what is idle, and on its end everything; mails can be sent while it runs."""

    def __init__(self, server: SmtpServer, *, name: str, connections_max: int, messages_max: int) -> None:
        self.name = name
        self.server = server
        self._messages_max = messages_max
        self._room = asyncio.Semaphore(connections_max)
        self._idle: list[_Connection] = []
        self._is_over = False

    async def run(self) -> None:
        """Close idle connections until cancelled, then all."""
        try:
            while True:
                await asyncio.sleep(REAP_SECONDS)
                await self._close([one for one in self._idle if not one.is_usable])
        finally:
            self._is_over = True  # what is being sent may end, and its connection is not kept
            for one in self._idle:
                one.client.close()
            self._idle.clear()

    async def send(self, mail: Mail) -> None:
        """Hand over one mail; raises NotTaken or NotReached. Waits while all connections are busy."""
        async with self._room:
            kept = self._take()
            if kept is not None:
                with suppress(_Stale):
                    return await self._send_on(kept, mail)
            return await self._send_on(await self._connect(), mail)

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.client.close()
        return None

    async def _connect(self) -> _Connection:
        server = self.server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password.get_secret_value() if server.password else None,
            local_hostname=server.own_domain,
            timeout=server.seconds_max,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            tls_context=server.tls_context,
        )
        with _told(Stage.CONNECTING):
            await client.connect()
        metrics.connections_made.inc()
        return _Connection(client)

    async def _send_on(self, connection: _Connection, mail: Mail) -> None:
        is_kept = connection.messages > 0
        client = connection.client
        try:
            try:
                with _told(Stage.SENDER):
                    await client.mail(mail.sender)
            except NotSent as error:
                # nothing of the mail was handed over: a connection that the server had given up may be replaced
                if is_kept and not client.is_connected:
                    raise _Stale from error
                raise
            with _told(Stage.RECIPIENT):
                await client.rcpt(mail.recipient)
            with _told(Stage.CONTENT):
                await client.data(mail.content)
        except NotTaken as error:
            await self._keep(connection, reset=error.code != SERVICE_CLOSING)
            raise
        except BaseException:
            client.close()
            raise
        await self._keep(connection)

    async def _keep(self, connection: _Connection, *, reset: bool = False) -> None:
        connection.messages += 1
        connection.used_at = time.monotonic()
        if reset and connection.client.is_connected:
            try:
                await connection.client.rset()
            except (SMTPException, OSError):
                connection.client.close()
        if self._is_over or connection.messages >= self._messages_max:
            await _quit(connection)
        elif connection.client.is_connected:
            self._idle.append(connection)

    async def _close(self, connections: list[_Connection]) -> None:
        self._idle = [one for one in self._idle if one not in connections]
        for one in connections:
            await _quit(one)


class _Stale(Exception):
    """The server had closed a kept connection."""


async def _quit(connection: _Connection) -> None:
    with suppress(SMTPException, OSError):
        await connection.client.quit(timeout=QUIT_SECONDS_MAX)
    connection.client.close()


@contextmanager
def _told(stage: Stage) -> Iterator[None]:
    """The library's errors as ours. Its texts are bounded by whoever shows them."""
    try:
        yield
    except SMTPResponseException as error:
        raise NotTaken(stage, error.code, error.message) from error
    except SMTPServerDisconnected as error:
        raise NotReached(f"{stage}: the connection was lost") from error
    except (SMTPException, OSError, ValueError) as error:
        raise NotReached(f"{stage}: {type(error).__name__}: {error}") from error
