"""A real SMTP server on a free port of the loopback, which keeps what it is sent and answers as a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, TypeAlias

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

TAKEN = "250 2.0.0 taken"
Anything: TypeAlias = Any  # whatever the library takes


@dataclass(frozen=True)
class Received:
    """One mail that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        parsed = message_from_bytes(self.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def text(self) -> str:
        """Its plain form."""
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def html(self) -> str:
        """Its HTML."""
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())


@dataclass
class MailServer:
    """What a test sets and sees. Answers are lines such as `450 4.2.0 later`; empty: taken."""

    port: int = 0
    mails: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    open_max: int = 0
    logins: list[tuple[str, str]] = field(default_factory=list)
    to_sender: str = ""
    to_recipient: dict[str, str] = field(default_factory=dict)
    to_content: str = ""
    seconds: float = 0.0
    """How long it takes for each mail."""
    seconds_for: Callable[[str], float] | None = None
    hangs_up: bool = False
    """At the next mail the connection is closed without an answer, once."""
    transports: list[asyncio.Transport] = field(default_factory=list)

    def to(self, address: str) -> list[Received]:
        """The mails to an address, in the order of their coming; capitals make no difference."""
        return [one for one in self.mails if address.lower() in (name.lower() for name in one.recipients)]

    def cut(self) -> None:
        """Close every connection, as a server does that is restarted."""
        for transport in self.transports:
            transport.close()

    async def handle_MAIL(  # noqa: N802  the library looks for this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.hangs_up:
            self.hangs_up = False
            self.cut()
        if self.to_sender:
            return self.to_sender
        envelope.mail_from = address
        return TAKEN

    async def handle_RCPT(  # noqa: N802  the library looks for this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if answer := self.to_recipient.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        seconds = self.seconds_for(envelope.rcpt_tos[0]) if self.seconds_for else self.seconds
        if seconds:
            await asyncio.sleep(seconds)
        if self.to_content:
            return self.to_content
        content = envelope.original_content or b""
        at = asyncio.get_running_loop().time()
        self.mails.append(Received(envelope.mail_from or "", tuple(envelope.rcpt_tos), content, at))
        return TAKEN

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        name, password = given.login.decode(), given.password.decode()
        self.logins.append((name, password))
        return AuthResult(success=password == "right", handled=False)


class _Counted(SMTP):
    """Counts connections."""

    def __init__(self, seen: MailServer, **options: Anything) -> None:
        super().__init__(seen, **options)
        self._seen = seen
        self._is_first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._is_first:  # STARTTLS makes it again
            self._is_first = False
            self._seen.connections += 1
            self._seen.open += 1
            self._seen.open_max = max(self._seen.open, self._seen.open_max)
            assert isinstance(transport, asyncio.Transport)
            self._seen.transports.append(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._seen.open -= 1
        super().connection_lost(error)


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, login: bool = False
) -> AsyncIterator[MailServer]:
    """A server until the end of the block."""
    loop = asyncio.get_running_loop()
    seen = MailServer()
    options: dict[str, Any] = {"loop": loop, "hostname": "sink.test", "tls_context": starttls}
    if login:
        options |= {"authenticator": seen.authenticate, "auth_require_tls": False}
    listening = await loop.create_server(lambda: _Counted(seen, **options), "127.0.0.1", 0, ssl=tls)
    seen.port = listening.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        listening.close()
        seen.cut()
        await listening.wait_closed()
