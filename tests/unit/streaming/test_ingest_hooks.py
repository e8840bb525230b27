"""The hooks' address: who may ask, what is read, and what nginx-rtmp is answered."""

import asyncio
import io
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from runtime.http_server import HttpServer
from runtime.settings import HttpSettings
from streaming.ingest.commands import Dialect, IngestCommand
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SettledSecrets
from streaming.ingest.hooks import HookRules, IngestHooks
from streaming.ingest.nginx_rtmp import BODY_BYTES_MAX
from streaming.lifecycle.lifecycle import Verdict
from streaming.lifecycle.publishing import Answer

SECRET = "a-secret-of-the-tests"
SECRETS = {dialect: f"{SECRET}-{dialect}" for dialect in Dialect} | {Dialect.NGINX_RTMP: SECRET}
ADDRESS = f"/hooks/ingest/nginx-rtmp/{SECRET}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PREFIX = "app=live&flashver=x&swfurl=&tcurl=rtmp://127.0.0.1/live&pageurl=&addr=127.0.0.1&clientid=7"
PUBLISH = f"{PREFIX}&call=publish&name=sk_abc&type=live"
ALIVE = f"{PREFIX}&call=update_publish&time=12&timestamp=11690&name=sk_abc"
DONE = f"{PREFIX}&call=publish_done&name=sk_abc"
STREAM_ID = UUID("01920000-0000-7000-8000-000000000001")

Client = TestClient[web.Request, web.Application]


class Commands:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[IngestCommand] = []
        self.answer = Answer(Verdict.ACCEPTED, "publish", STREAM_ID)
        self.error: Exception | None = None
        self.seconds = 0.0

    async def handle(self, command: IngestCommand) -> Answer:
        self.heard.append(command)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def client(commands: Commands) -> AsyncIterator[Client]:
    push_url = "rtmp://127.0.0.1:1935/hls"
    hooked = [
        HookedServer(dialect.value, dialect, SettledSecrets(SecretStr(secret)), "live", push_url)
        for dialect, secret in SECRETS.items()
    ]
    rules = HookRules(HookedServers(hooked), seconds_max=0.2)
    server = HttpServer([IngestHooks(commands, rules)], settings=HttpSettings())
    async with TestClient(TestServer(await server.application())) as client:
        yield client


async def post(client: Client, body: str | bytes, address: str = ADDRESS, **headers: str) -> tuple[int, str]:
    answer = await client.post(
        address,
        data=io.BytesIO(body if isinstance(body, bytes) else body.encode()),
        headers=FORM | headers,
        allow_redirects=False,
    )
    return answer.status, await answer.text()


async def test_an_accepted_publish_is_sent_to_its_streams_name(client: Client, commands: Commands) -> None:
    answer = await client.post(ADDRESS, data=PUBLISH.encode(), headers=FORM, allow_redirects=False)
    assert answer.status == 302
    assert answer.headers["Location"] == f"rtmp://127.0.0.1:1935/hls/{STREAM_ID}"
    assert commands.heard[0].session.server == "nginx-rtmp"


async def test_a_refusal_says_why(client: Client, commands: Commands) -> None:
    commands.answer = Answer(Verdict.REFUSED, "no channel has this stream key")
    status, text = await post(client, PUBLISH)
    assert status == 403
    assert "no channel has this stream key" in text
    assert "sk_abc" not in text


@pytest.mark.parametrize("secret", ["wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), "%F0%9F%94%91", "x" * 4_000])
async def test_a_wrong_secret_is_refused_before_anything_is_read(
    client: Client, commands: Commands, secret: str
) -> None:
    status, text = await post(client, PUBLISH, f"/hooks/ingest/nginx-rtmp/{secret}")
    assert status == 403
    assert SECRET not in text
    assert not commands.heard


async def test_without_a_secret_there_is_no_such_path(client: Client, commands: Commands) -> None:
    assert (await post(client, PUBLISH, "/hooks/ingest/nginx-rtmp/"))[0] == 404
    assert not commands.heard


async def test_no_body(client: Client) -> None:
    assert (await post(client, b""))[0] == 400


@pytest.mark.parametrize("size", [BODY_BYTES_MAX + 1, 1_048_576])
async def test_a_large_body_is_refused(client: Client, commands: Commands, size: int) -> None:
    assert (await post(client, PUBLISH + "&x=" + "y" * size))[0] == 413
    assert not commands.heard


async def test_a_large_body_of_unsaid_length_is_refused(client: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 4_096

    answer = await client.post(ADDRESS, data=pieces(), headers=FORM)
    assert answer.status == 413


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_another_content_type_is_refused(client: Client, commands: Commands, content_type: str) -> None:
    status, _ = await post(client, PUBLISH, **{"Content-Type": content_type})
    assert status == 415
    assert not commands.heard


async def test_an_unknown_application_and_an_injection_are_refused(client: Client, commands: Commands) -> None:
    assert (await post(client, PUBLISH.replace("app=live", "app=hls")))[0] == 403
    assert (await post(client, PUBLISH + "&name=victim"))[0] == 403
    assert not commands.heard


async def test_an_unknown_call_cannot_be_accepted(client: Client, commands: Commands) -> None:
    assert (await post(client, PUBLISH.replace("call=publish", "call=conquer")))[0] == 400
    assert not commands.heard


@pytest.mark.parametrize("call", ["done&name=sk_abc", "play_done&name=sk_abc", "disconnect&app=live"])
async def test_other_calls_are_ignored(client: Client, commands: Commands, call: str) -> None:
    assert (await post(client, f"{PREFIX}&call={call}"))[0] == 200
    assert not commands.heard


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("no database"), TimeoutError(), asyncpg.InterfaceError("connection is closed")]
)
async def test_without_a_database_nobody_starts_and_nobody_is_dropped(
    client: Client, commands: Commands, error: Exception
) -> None:
    commands.error = error
    assert (await post(client, PUBLISH))[0] == 503
    assert (await post(client, ALIVE))[0] == 200
    assert (await post(client, DONE))[0] == 200


async def test_a_hook_that_takes_too_long_is_given_up(client: Client, commands: Commands) -> None:
    commands.seconds = 30
    assert (await post(client, PUBLISH))[0] == 503


async def test_other_methods_are_refused(client: Client) -> None:
    assert (await client.get(ADDRESS)).status == 405


async def test_nginx_rtmp_speaks_http_1_0(client: Client) -> None:
    assert client.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = f"POST {ADDRESS} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: {FORM['Content-Type']}\r\n"
    writer.write(f"{head}Connection: Close\r\nContent-Length: {len(PUBLISH)}\r\n\r\n{PUBLISH}".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.split()[1] == b"302"
    assert f"Location: rtmp://127.0.0.1:1935/hls/{STREAM_ID}\r\n".encode() in answer
