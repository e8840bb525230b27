"""The one process as its owner meets it: it migrates, serves every route, stops in time, and says what is wrong."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import aiohttp
import psutil
import pytest

from chat.sockets.closecodes import CloseCode
from deploy.local.places import CHECKOUT
from runtime.migrations import SCHEMAS
from runtime.postgres import connect
from tests.conftest import StackMaker
from tests.contract.documents import whole_document
from tests.engines import Database, redis_of_servers
from tests.integration.solo.running import Solo, running_solo
from tests.integration.streaming.publisher import eventually
from tests.unit.solo.test_solo_settings import NEEDED

Start = Callable[..., AbstractAsyncContextManager[Solo]]

STOP_SECONDS_MAX = 9.0
"""Whoever took longer than the 8 s of grace says so by its exit code; the rest is the machine's."""
CHATTERS = 20
"""The last of them is asked to leave a second after the first."""
SPEAKERS = 5
"""Each of whom may be asked to leave just then."""


@pytest.fixture
def settings(empty_database: Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """A database with nothing in it, and directories of the test's own."""
    return NEEDED | {
        "LIVESTREAM_POSTGRES_DSN": empty_database.url,
        "LIVESTREAM_REDIS_URL": redis_of_servers(redis_url),
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_LIMIT_LOGINS_PER_MINUTE": "10000",  # tests that share a Redis have one address
        "LIVESTREAM_NOTIFY_REDIS_PREFIX": empty_database.name,
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(tmp_path / "recordings"),
        "LIVESTREAM_CHAT_EMOTE_DIRECTORY": str(tmp_path / "emotes"),
        "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(tmp_path / "work"),
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(_made(tmp_path / "hls")),
        "LIVESTREAM_ARCHIVE_SEGMENT_HOOK_SECRET": "h" * 32,
        "LIVESTREAM_ARCHIVE_SEGMENT_HOOK_ROOT": str(_made(tmp_path / "hooked")),
    }


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@pytest.fixture
async def start(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the process, with variables besides."""
    runs = count(1)
    yield lambda **more: running_solo({**settings, **more}, tmp_path / f"solo-{next(runs)}.log")


async def test_it_migrates_serves_every_route_and_stops_in_time(start: Start, settings: dict[str, str]) -> None:
    async with start() as solo:
        await solo.ready()
        assert {line["schema"] for line in solo.said("migration_applied")} == set(SCHEMAS)
        documented = whole_document()["paths"]
        routes = [(method.upper(), path) for path, methods in documented.items() for method in methods]
        async with aiohttp.ClientSession() as session:
            for method, path in routes:
                await _is_served(session, solo, method, path)
            metrics = await (await session.get(f"{solo.url}/metrics")).text()
        # the template that answered: of two routes that fit a path, only one is meant
        for method, path in routes:
            assert f'livestream_http_request_seconds_count{{method="{method}",route="{path}"' in metrics
        began = asyncio.get_running_loop().time()
        assert await solo.stop() == 0
        assert asyncio.get_running_loop().time() - began < STOP_SECONDS_MAX
        # not every machine lets encoders be started without a network, a busy one is slow, and no media server runs
        expected = {"children_keep_the_network", "query_slow", "media_server_away", "limits_redis_away"}
        complaints = [line for line in solo.lines() if line["level"] in ("warning", "error")]
        assert [one for one in complaints if "request" not in one["event"] and one["event"] not in expected] == []

    async with start() as again:
        await again.ready()
        assert again.said("migration_applied") == []
        assert await again.stop() == 0


async def test_who_chats_is_served_until_they_are_told_to_come_back(start: Start) -> None:
    async with start() as solo, aiohttp.ClientSession() as session:
        await solo.ready()
        said = {"username": "ann_1", "password": "correct horse battery"}
        async with session.post(f"{solo.url}/api/auth/register", json=said) as answer:
            assert answer.status == 201, await answer.text()
            ann = await answer.json()
        async with session.post(f"{solo.url}/api/auth/login", json=said) as answer:
            ann |= await answer.json()
        clients, heard = list[aiohttp.ClientWebSocketResponse](), list[asyncio.Task[set[str]]]()
        for _ in range(CHATTERS):
            clients.append(await _joined(session, solo, ann))
            heard.append(asyncio.create_task(_kinds_heard(clients[-1])))  # at once: it also answers pings
        solo.process.send_signal(signal.SIGTERM)
        await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        staying = [number for number, client in enumerate(clients) if not client.closed]
        for number in staying[:SPEAKERS]:
            with suppress(ConnectionError):  # told to leave meanwhile
                await clients[number].send_json({"type": "send", "id": "last", "text": f"{number} is still here"})
        kinds = await asyncio.gather(*heard)
        assert any({"accepted", "messages"} <= kinds[number] for number in staying)
        # What is written to a socket that was closed just then resets it, and the code is lost on its way.
        codes = Counter(client.close_code for client in clients)
        assert set(codes) <= {CloseCode.DRAINING, aiohttp.WSCloseCode.ABNORMAL_CLOSURE}
        assert codes[CloseCode.DRAINING] >= CHATTERS - 2 * SPEAKERS
        assert CloseCode.DRAINING.reconnect
        assert await solo.ended() == 0


async def _kinds_heard(client: aiohttp.ClientWebSocketResponse) -> set[str]:
    """Which kinds of frames come until the end."""
    kinds = set()
    while not client.closed:
        with suppress(ConnectionError):  # of the answer to a ping, where the server has gone; what it said is read on
            frame = await client.receive()
            if frame.type is aiohttp.WSMsgType.TEXT:
                kinds.add(json.loads(frame.data)["type"])
    return kinds


async def _joined(
    session: aiohttp.ClientSession, solo: Solo, person: dict[str, str]
) -> aiohttp.ClientWebSocketResponse:
    """In the person's own room, once chat has heard of it."""
    join = {"type": "join", "v": 1, "room": person["user_id"], "token": person["access_token"]}

    async def let_in() -> aiohttp.ClientWebSocketResponse | None:
        client = await session.ws_connect(f"{solo.url}/chat", compress=0)
        await client.send_json(join)
        if json.loads((await client.receive()).data)["type"] == "joined":
            return client
        await client.close()
        return None

    client = await eventually(let_in, until=bool, seconds_max=30, what="no room")
    assert client is not None
    return client


async def _is_served(session: aiohttp.ClientSession, solo: Solo, method: str, path: str) -> None:
    address = re.sub(r"\{\w+_id\}", str(uuid4()), path.replace("{language}", "en").replace("{name}", "Wave"))
    address = re.sub(r"\{\w+\}", "whatever", address)
    async with session.request(method, solo.url + address) as answer:
        body = await answer.text()
        assert answer.status < 500, (method, path, body)
        assert answer.status != 405, (method, path, body)
        assert "no such path" not in body, (method, path)


async def test_every_line_of_a_part_says_which(start: Start) -> None:
    async with start() as solo:
        await solo.ready()

        async def leading() -> dict[str, str]:
            return {line.get("part", "bus"): line["schema"] for line in solo.said("relay_leads")}

        wanted = {schema: schema for schema in SCHEMAS}
        await eventually(leading, until=lambda found: found.keys() >= wanted.keys(), seconds_max=30)
        assert await leading() == wanted


async def test_a_failing_part_stops_the_process_with_exit_code_1(start: Start, empty_database: Database) -> None:
    async with start() as solo:
        await solo.ready()
        connection = await connect(empty_database.dsn, schema="streaming")
        await connection.execute("ALTER TABLE open_streams RENAME TO elsewhere")  # the reaper reads it every second
        await connection.close()
        assert await solo.ended() == 1
        [failed] = solo.said("service_failed")
        assert failed["failed_service"].startswith("streaming-")


async def test_it_stops_in_time_although_postgres_does_not_answer(
    own_stack: StackMaker, settings: dict[str, str], start: Start
) -> None:
    stack = own_stack("postgres")
    async with start(LIVESTREAM_POSTGRES_DSN=stack.environment()["LIVESTREAM_POSTGRES_DSN"]) as solo:
        await solo.ready()
        server = psutil.Process(stack.pid("postgres"))
        frozen = [server, *server.children()]
        _each(frozen, psutil.Process.suspend)
        try:
            assert await solo.stop() == 0
        finally:
            _each(frozen, psutil.Process.resume)


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a session that has just ended
            act(process)


async def test_a_database_that_is_not_ours_to_migrate_is_one_line(start: Start, empty_database: Database) -> None:
    async with start() as solo:
        await solo.ready()
        await solo.stop()
    connection = await connect(empty_database.dsn, schema="notify")
    await connection.execute("UPDATE applied_migrations SET checksum = 'another' WHERE source = 'notify'")
    await connection.close()
    async with start() as solo:
        assert await solo.ended() == 1
        [line] = [line for line in solo.lines() if line["level"] == "error"]
        assert line["event"] == "process_refused"
        assert "notify/0001" in line["reason"]
        assert "was edited after it was applied" in line["reason"]
        assert "exception" not in line


async def test_a_taken_port_is_one_line_that_names_the_setting(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with start(LIVESTREAM_HTTP_PORT=str(port)) as solo:
            assert await solo.ended() == 1
    [line] = [line for line in solo.lines() if line["level"] == "error"]
    assert line["event"] == "process_refused"
    assert f"127.0.0.1:{port} is in use" in line["reason"]
    assert "LIVESTREAM_HTTP_PORT" in line["reason"]
    assert "exception" not in line


async def test_a_directory_that_cannot_be_made_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with start(LIVESTREAM_ARCHIVE_WORK_DIRECTORY=str(tmp_path / "file/work")) as solo:
        assert await solo.ended() == 1
    [line] = [line for line in solo.lines() if line["level"] == "error"]
    assert line["event"] == "process_refused"
    assert str(tmp_path / "file") in line["reason"]


async def test_wrong_credentials_are_one_line_without_them(start: Start, settings: dict[str, str]) -> None:
    wrong = settings["LIVESTREAM_POSTGRES_DSN"].rpartition("/")[0] + "/nowhere"
    async with start(LIVESTREAM_POSTGRES_DSN=wrong) as solo:
        assert await solo.ended() == 1
    [line] = [line for line in solo.lines() if line["level"] == "error"]
    assert line["event"] == "process_refused"
    assert "LIVESTREAM_POSTGRES_DSN" in line["reason"]
    assert wrong not in solo.log.read_text()


async def test_it_loads_no_client_of_what_it_does_not_use() -> None:
    """What is not loaded takes no memory: the clients of Kafka and S3, and the tools for people."""
    code = (
        "import sys, solo.__main__, eventbus.bus_postgres\n"
        "print([name for name in ('aiokafka', 'boto3', 'botocore', 'typer', 'console') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode().strip() == "[]"
