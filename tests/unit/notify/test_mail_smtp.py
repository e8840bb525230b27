"""Connections to a real SMTP server: kept, bounded, replaced, encrypted; and never waited for without end."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from notify.mail.smtp import Mail, NotReached, NotTaken, SmtpConnections, SmtpServer, Stage
from tests.integration.notify.mail_server import Anything, MailServer, mail_server
from tests.integration.notify.processes import eventually


def connections_to(
    server: MailServer, *, connections_max: int = 2, messages_max: int = 100, **rest: Anything
) -> SmtpConnections:
    values = {"tls": "none", "own_domain": "example.org", "seconds_max": 10.0, **rest}
    smtp = SmtpServer(host="127.0.0.1", port=server.port, **values)
    return SmtpConnections(smtp, name="smtp-test", connections_max=connections_max, messages_max=messages_max)


def mail(recipient: str = "bob@example.org") -> Mail:
    return Mail("notices@example.org", recipient, b"Subject: hi\r\n\r\n.a line that begins with a dot\r\n")


@asynccontextmanager
async def running(connections: SmtpConnections) -> AsyncIterator[None]:
    task = asyncio.create_task(connections.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_connection_is_used_again() -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        for _ in range(5):
            await connections.send(mail())
        assert (server.connections, len(server.mails)) == (1, 5)
        assert server.mails[0].sender == "notices@example.org"
        assert server.mails[0].content.endswith(b"\r\n.a line that begins with a dot\r\n")


async def test_a_connection_carries_a_bounded_number_of_mails() -> None:
    async with mail_server() as server, running(connections := connections_to(server, messages_max=2)):
        for _ in range(5):
            await connections.send(mail())
        assert (server.connections, len(server.mails)) == (3, 5)


async def test_no_more_connections_than_allowed_at_once() -> None:
    async with mail_server() as server, running(connections := connections_to(server, connections_max=3)):
        server.seconds = 0.02
        await asyncio.gather(*(connections.send(mail()) for _ in range(20)))
        assert len(server.mails) == 20
        assert server.open_max == 3


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        await connections.send(mail())
        server.cut()
        await eventually(lambda: server.open == 0)
        await connections.send(mail())
        assert (server.connections, len(server.mails)) == (2, 2)


async def test_a_connection_that_is_closed_at_that_very_moment_is_replaced() -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        await connections.send(mail())
        server.hangs_up = True
        await connections.send(mail())
        assert (server.connections, len(server.mails)) == (2, 2)
        await connections.send(mail())
        assert server.connections == 2


async def test_a_new_connection_that_is_closed_is_an_error() -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        server.hangs_up = True
        with pytest.raises(NotReached):
            await connections.send(mail())
        assert server.connections == 1, "tried once"


async def test_a_refused_recipient_does_not_spoil_the_connection() -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        server.to_recipient["gone@example.org"] = "550 5.1.1 no such user"
        with pytest.raises(NotTaken) as refused:
            await connections.send(mail("gone@example.org"))
        assert (refused.value.stage, refused.value.code) == (Stage.RECIPIENT, 550)
        await connections.send(mail())
        assert (server.connections, len(server.mails)) == (1, 1)
        assert server.mails[0].recipients == ("bob@example.org",), "nothing of the refused mail is left"


@pytest.mark.parametrize(
    ("answers", "stage", "code"),
    [
        ({"to_sender": "451 4.3.0 not now"}, Stage.SENDER, 451),
        ({"to_content": "554 5.6.0 spam"}, Stage.CONTENT, 554),
        ({"to_content": "421 4.3.2 going down"}, Stage.CONTENT, 421),
    ],
)
async def test_what_the_server_answers_is_told(answers: dict[str, str], stage: Stage, code: int) -> None:
    async with mail_server() as server, running(connections := connections_to(server)):
        for name, value in answers.items():
            setattr(server, name, value)
        with pytest.raises(NotTaken) as refused:
            await connections.send(mail())
        assert (refused.value.stage, refused.value.code) == (stage, code)


async def test_nobody_there_is_not_reached() -> None:
    async with mail_server() as server:
        connections = connections_to(server)
    with pytest.raises(NotReached):
        await connections.send(mail())


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listening:
        seen = MailServer(port=listening.sockets[0].getsockname()[1])
        connections = connections_to(seen, seconds_max=0.2)
        async with asyncio.timeout(5):
            with pytest.raises(NotReached):
                await connections.send(mail())


async def test_a_mail_in_doubt_is_not_sent_again_on_the_quiet() -> None:
    """After the content was handed over only the engine may repeat, which counts it; here it must be an error."""
    async with mail_server() as server, running(connections := connections_to(server)):
        await connections.send(mail())

        def hang_up(_address: str) -> float:
            server.cut()
            return 0.0

        server.seconds_for = hang_up
        with pytest.raises(NotReached):
            await connections.send(mail())
        assert (server.connections, len(server.mails)) == (1, 2)


async def test_a_cancelled_send_leaves_no_connection_in_an_unknown_state() -> None:
    async with mail_server() as server, running(connections := connections_to(server, connections_max=1)):
        begun = asyncio.Event()

        def slow(_address: str) -> float:
            begun.set()
            return 5.0

        server.seconds_for = slow
        sending = asyncio.create_task(connections.send(mail()))
        await begun.wait()
        sending.cancel()
        await asyncio.wait([sending])
        await eventually(lambda: server.open == 0)
        server.seconds_for = None
        await connections.send(mail("eve@example.org"))
        assert [one.recipients for one in server.mails] == [("eve@example.org",)]
        assert server.connections == 2


async def test_the_end_closes_what_is_idle() -> None:
    async with mail_server() as server:
        async with running(connections := connections_to(server)):
            await connections.send(mail())
            assert server.open == 1
        await eventually(lambda: server.open == 0)


async def test_what_is_sent_at_the_end_leaves_no_connection() -> None:
    async with mail_server() as server:
        server.seconds = 0.1
        async with running(connections := connections_to(server)):
            sending = asyncio.create_task(connections.send(mail()))
            await eventually(lambda: server.open == 1)
        await sending
        assert len(server.mails) == 1
        await eventually(lambda: server.open == 0)


async def test_login_and_its_refusal() -> None:
    async with mail_server(login=True) as server:
        right = connections_to(server, username="us", password=SecretStr("right"))
        async with running(right):
            await right.send(mail())
        assert server.logins == [("us", "right")]
        wrong = connections_to(server, username="us", password=SecretStr("wrong"))
        with pytest.raises(NotTaken) as refused:
            await wrong.send(mail())
        assert (refused.value.stage, refused.value.code) == (Stage.CONNECTING, 535)
        assert "wrong" not in str(refused.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody but these tests trusts, and its key."""
    place = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    paths = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(place / "key"), "-out", str(place / "crt")]
    subprocess.run([*command.split(), *paths], check=True, capture_output=True, timeout=30)
    return place / "crt", place / "key"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_the_connection_is_encrypted_and_the_certificate_is_checked(
    tls: str, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    place = {"starttls": None, "tls": None, tls: context}
    async with mail_server(starttls=place["starttls"], tls=place["tls"]) as server:
        with pytest.raises(NotReached):
            await connections_to(server, tls=tls).send(mail())
        assert not server.mails, "nothing goes to a server that is not who it should be"
        trusted = connections_to(server, tls=tls, tls_context=trusting)
        async with running(trusted):
            await trusted.send(mail())
        assert len(server.mails) == 1


async def test_a_server_without_starttls_gets_nothing_in_the_clear() -> None:
    async with mail_server(login=True) as server:
        with pytest.raises(NotReached):
            await connections_to(server, tls="starttls", username="us", password=SecretStr("right")).send(mail())
        assert not server.mails
        assert not server.logins
