"""A member of a real WebSocket: whoever closes it, nothing follows the close frame."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from chat.sockets.fanout import Broadcast, broadcast_in_c, broadcast_in_python
from chat.sockets.member import Member, MemberSocket
from runtime.websockets import text_frame

Close = Callable[[MemberSocket, aiohttp.ClientWebSocketResponse], Awaitable[None]]
LATE = text_frame(b"too late")


async def by_us(served: MemberSocket, _: aiohttp.ClientWebSocketResponse) -> None:
    await served.close(drain=False)


async def by_the_client(_: MemberSocket, client: aiohttp.ClientWebSocketResponse) -> None:
    await client._writer.close(1000)


async def by_a_frame_that_is_too_large(_: MemberSocket, client: aiohttp.ClientWebSocketResponse) -> None:
    await client.send_str("x" * 100)


@pytest.fixture(params=["python", "c"])
def broadcast(request: pytest.FixtureRequest) -> Broadcast:
    chosen = broadcast_in_python if request.param == "python" else broadcast_in_c()
    if chosen is None:
        pytest.skip("the send loop in C is not built")
    return chosen


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[MemberSocket, Member, aiohttp.ClientWebSocketResponse]]:
    serving: asyncio.Future[tuple[MemberSocket, Member]] = asyncio.get_running_loop().create_future()

    async def serve(request: web.Request) -> web.StreamResponse:
        ws = MemberSocket(compress=False, max_msg_size=50)
        await ws.prepare(request)
        assert request.transport is not None
        serving.set_result((ws, Member(ws, request.transport, backlog_bytes_max=65_536)))
        async for _ in ws:
            pass
        return ws

    application = web.Application()
    application.router.add_get("/", serve)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        client = await session.ws_connect(server.make_url("/"), autoclose=False)
        ws, member = await serving
        yield ws, member, client
        await client.close()


@pytest.mark.parametrize("close", [by_us, by_the_client, by_a_frame_that_is_too_large])
async def test_nothing_follows_a_close_frame(broadcast: Broadcast, close: Close) -> None:
    async with connected() as (ws, member, client):
        broadcast([member], text_frame(b"in time"))
        closing = asyncio.ensure_future(close(ws, client))  # ours waits for the client's answer
        async with asyncio.timeout(5):
            while not ws.closed:  # noqa: ASYNC110  aiohttp tells nobody
                await asyncio.sleep(0)
        assert member.socket is None
        broadcast([member], LATE)
        assert (await client.receive(timeout=5)).data == "in time"
        assert (await client.receive(timeout=5)).type is WSMsgType.CLOSE
        await client.close()
        await closing
