"""IRC over TCP: a port of its own, with or without TLS."""

import asyncio
import ssl
from typing import Final, cast

import structlog

from chat import metrics
from chat.errors import TooManyConnections, TooManyFromAddress
from chat.irc.door import IrcDoor
from chat.irc.lines import line
from chat.irc.wires import PIECE_BYTES_MAX, TcpWire
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.sockets.member import Member
from runtime.client_address import counted_address
from runtime.service import CannotServe

log = structlog.get_logger(__name__)

BACKLOG_CONNECTIONS_MAX: Final = 1_024
HANDSHAKE_SECONDS: Final = 10.0
GOODBYE_SECONDS: Final = 2.0


class IrcListener:
    """A service that takes connections and serves them."""

    name = "chat-irc-listener"

    def __init__(self, settings: ChatSettings, port: int, door: IrcDoor, admission: Admission) -> None:
        self._settings = settings
        self._port = port
        self._door = door
        self._admission = admission
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(self) -> None:
        """Listen until cancelled; then take no more, and ask those who are here to reconnect elsewhere."""
        host, tls = self._settings.chat_irc_host, self._tls()
        try:
            server = await asyncio.start_server(
                self._serve,
                host,
                self._port,
                limit=PIECE_BYTES_MAX,
                backlog=BACKLOG_CONNECTIONS_MAX,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            )
        except OSError as error:
            raise CannotServe(
                f"cannot listen for IRC on {host}:{self._port}: {error.strerror or error}"
                " (LIVESTREAM_CHAT_IRC_HOST and LIVESTREAM_CHAT_IRC_PORT name the address)"
            ) from error
        log.info("irc_listening", host=host, port=self._port, tls=tls is not None)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            await self._door.drain()
            await self._see_off()
            log.info("irc_drained")

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self._settings.chat_irc_tls_certificate, self._settings.chat_irc_tls_key
        if certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise CannotServe(f"the certificate for IRC cannot be used: {error}") from error
        return context

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        address = counted_address(str(peer[0]) if peer else "")
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open[task] = writer
        try:
            with self._admission.admit_address(address):
                await self._talk(reader, writer, address)
        except (TooManyConnections, TooManyFromAddress) as error:
            writer.write(line("ERROR", text=error.title, prefix=None))
        finally:
            del self._open[task]
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        if self._door.draining:
            raise TooManyConnections("this gateway is going away", retry_after_seconds=1)
        transport = cast("asyncio.Transport", writer.transport)  # it reads, too
        member = Member(None, transport, backlog_bytes_max=self._settings.chat_backlog_bytes_max)
        member.limit_send_buffer(self._settings.chat_send_buffer_bytes)
        await self._door.serve(TcpWire(reader, writer, member), address)

    async def _see_off(self) -> None:
        """Wait a little until those who were ended are gone."""
        if self._open:
            await asyncio.wait(self._open, timeout=GOODBYE_SECONDS)
        for writer in self._open.values():
            metrics.slow_clients_cut.inc()
            writer.transport.abort()
