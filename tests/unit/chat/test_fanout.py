"""Both send loops over real sockets: every byte once and in order, whatever else is written and whoever reads not."""

import asyncio
import os
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import uvloop

from chat.sockets import fanout
from chat.sockets.fanout import Broadcast, broadcast_in_c, broadcast_in_python
from chat.sockets.member import Member

CHECKOUT = Path(__file__).parents[3]
BACKLOG_BYTES_MAX = 65_536
SEND_BUFFER_BYTES = 8_192
WAIT_SECONDS = 5.0

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [uvloop.new_event_loop, asyncio.new_event_loop]


@pytest.fixture(params=["python", "c"])
def broadcast(request: pytest.FixtureRequest) -> Broadcast:
    chosen = broadcast_in_python if request.param == "python" else broadcast_in_c()
    if chosen is None:
        pytest.skip("the send loop in C is not built")
    return chosen


@pytest.fixture(params=LOOPS, ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


class Served(asyncio.Protocol):
    """The gateway's end of a connection."""

    def __init__(self, made: "asyncio.Queue[Served]") -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._made.put_nowait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@dataclass(eq=False)
class Pair:
    """A member, and its client's socket, of which the kernel takes little before it is read."""

    member: Member
    served: Served
    client: socket.socket
    slow: list[bool] = field(default_factory=list)

    @property
    def transport(self) -> asyncio.Transport:
        return self.served.transport

    async def read(self, size: int) -> bytes:
        read = b""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(read) < size:
                more = await asyncio.get_running_loop().sock_recv(self.client, 65_536)
                assert more, f"the connection ended after {len(read)} bytes"
                read += more
        return read

    async def nothing_more(self) -> None:
        """Nothing waits on either side."""
        assert self.transport.get_write_buffer_size() == 0
        with pytest.raises(BlockingIOError):
            self.client.recv(1)


@asynccontextmanager
async def pairs(count: int) -> AsyncIterator[list[Pair]]:
    loop = asyncio.get_running_loop()
    connected: asyncio.Queue[Served] = asyncio.Queue()
    server = await loop.create_server(lambda: Served(connected), "127.0.0.1", 0)
    made = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SEND_BUFFER_BYTES)
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        made.append(pair_of(await connected.get(), client))
    try:
        yield made
    finally:
        for pair in made:
            pair.client.close()
            pair.transport.abort()
        await asyncio.gather(*(pair.served.lost for pair in made))
        server.close()


def pair_of(served: Served, client: socket.socket) -> Pair:
    member = Member(None, served.transport, backlog_bytes_max=BACKLOG_BYTES_MAX)
    member.limit_send_buffer(SEND_BUFFER_BYTES)
    pair = Pair(member, served, client)
    member.on_slow = lambda: pair.slow.append(True)
    return pair


def test_everybody_gets_every_byte_in_order(runner: asyncio.Runner, broadcast: Broadcast) -> None:
    async def work() -> None:
        async with pairs(20) as all_pairs:
            members = [pair.member for pair in all_pairs]
            sent = b""
            for number in range(50):
                blob = b"%d," % number * (1 + number % 7)
                sent += blob
                broadcast(members, blob)
            for pair in all_pairs:
                assert await pair.read(len(sent)) == sent
                await pair.nothing_more()

    runner.run(work())


def test_what_the_kernel_does_not_take_follows_in_order_with_what_others_write(
    runner: asyncio.Runner, broadcast: Broadcast
) -> None:
    """A control frame of aiohttp, which goes to the transport, between flushes that wait and flushes that do not."""

    async def work() -> None:
        async with pairs(2) as (reading, other):
            blob, sent, waited = os.urandom(6_000), b"", 0
            for number in range(60):
                broadcast([reading.member, other.member], blob)
                pong = b"\x8a\x04%04d" % number
                reading.transport.write(pong)
                sent += blob + pong
                waited += reading.transport.get_write_buffer_size() > 0
                if number % 3 == 2:
                    assert await reading.read(len(sent)) == sent
                    sent = b""
            assert 0 < waited < 60, "the test must see both"
            await reading.nothing_more()

    runner.run(work())


def test_nothing_overtakes_what_waits_in_the_transport(runner: asyncio.Runner, broadcast: Broadcast) -> None:
    """The kernel has room again, which the event loop has not noticed yet."""

    async def work() -> None:
        async with pairs(1) as (pair,):
            blob, sent, read = os.urandom(6_000), b"", b""
            while not pair.transport.get_write_buffer_size():
                broadcast([pair.member], blob)
                sent += blob
            with suppress(BlockingIOError):
                while more := pair.client.recv(65_536):
                    read += more
            broadcast([pair.member], b"the last")
            read += await pair.read(len(sent) + 8 - len(read))
            assert read == sent + b"the last"

    runner.run(work())


def test_one_who_does_not_read_is_told_on_and_costs_nobody_anything(
    runner: asyncio.Runner, broadcast: Broadcast
) -> None:
    async def work() -> None:
        async with pairs(3) as (first, stalled, last):
            members = [first.member, stalled.member, last.member]
            blob = os.urandom(4_000)
            for _ in range(100):
                broadcast(members, blob)
                for pair in (first, last):
                    assert await pair.read(len(blob)) == blob
            assert (first.slow, stalled.slow, last.slow) == ([], [True], [])
            assert stalled.transport.get_write_buffer_size() <= BACKLOG_BYTES_MAX + len(blob)

    runner.run(work())


def test_nothing_follows_a_close_frame(runner: asyncio.Runner, broadcast: Broadcast) -> None:
    async def work() -> None:
        async with pairs(2) as (closed, open_one):
            closed.transport.write(b"\x88\x00")
            closed.member.silence()
            broadcast([closed.member, open_one.member], b"late")
            assert await open_one.read(4) == b"late"
            assert await closed.read(2) == b"\x88\x00"
            await closed.nothing_more()

    runner.run(work())


@pytest.mark.parametrize("how", ["abort", "close"])
def test_a_descriptor_that_was_taken_over_by_another_connection_gets_nothing(
    runner: asyncio.Runner, broadcast: Broadcast, how: str
) -> None:
    """The kernel gives the lowest free number, so the next connection has the one that has just been closed."""

    async def work() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            async with pairs(1) as (left,):
                number = left.transport.get_extra_info("socket").fileno()
                getattr(left.transport, how)()
                broadcast([left.member], b"while it closes")
                async with asyncio.timeout(WAIT_SECONDS):
                    await asyncio.shield(left.served.lost)
                    while not is_free(number):  # noqa: ASYNC110  the transport closes it without telling anybody
                        await asyncio.sleep(0)
                os.dup2(ours.fileno(), number)  # somebody else's connection under the old number
                broadcast([left.member], b"too late")
                os.close(number)
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)

    runner.run(work())


def is_free(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def test_a_client_that_is_gone_ends_its_own_connection_only(runner: asyncio.Runner, broadcast: Broadcast) -> None:
    async def work() -> None:
        async with pairs(2) as (gone, there):
            gone.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            gone.client.close()
            for _ in range(3):
                broadcast([gone.member, there.member], b"hello")
            assert await there.read(15) == b"hello" * 3
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.shield(gone.served.lost)

    runner.run(work())


def test_an_encrypting_transport_is_never_passed_by(runner: asyncio.Runner, broadcast: Broadcast) -> None:
    class Encrypting(asyncio.Transport):
        written = b""

        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"socket": wire, "sslcontext": object()}.get(name, default)

        def is_closing(self) -> bool:
            return False

        def get_write_buffer_size(self) -> int:
            return 0

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.written += bytes(data)

    async def work() -> None:
        transport = Encrypting()
        broadcast([Member(None, transport, backlog_bytes_max=BACKLOG_BYTES_MAX)], b"secret")
        assert transport.written == b"secret"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)

    wire, other = socket.socketpair()
    with wire, other:
        runner.run(work())


@dataclass
class Recorder:
    """A member of another kind."""

    written: list[bytes] = field(default_factory=list)

    def write(self, frames: bytes, /) -> None:
        self.written.append(frames)


class Failing:
    def write(self, frames: bytes, /) -> None:
        raise RuntimeError(frames.decode())


def test_members_of_any_kind_are_written_to(broadcast: Broadcast) -> None:
    members = [Recorder(), Recorder()]
    broadcast(members, b"a")
    broadcast(tuple(members), b"b")
    broadcast([], b"c")
    assert [member.written for member in members] == [[b"a", b"b"]] * 2


def test_what_a_member_raises_is_raised(broadcast: Broadcast) -> None:
    with pytest.raises(RuntimeError, match="lost"):
        broadcast([Recorder(), Failing()], b"lost")


def test_members_may_leave_while_they_are_told(broadcast: Broadcast) -> None:
    class Leaving(Recorder):
        def write(self, frames: bytes, /) -> None:
            super().write(frames)
            members.clear()

    first, second = Leaving(), Recorder()
    members: list[Recorder] = [first, second]
    broadcast(members, b"a")
    assert first.written == [b"a"]


def test_the_loop_in_c_is_used_where_it_is_built() -> None:
    assert fanout.broadcast is (broadcast_in_c() or broadcast_in_python)
    assert (fanout.SEND_LOOP == "c") is (broadcast_in_c() is not None)


def test_the_loop_in_c_has_no_warnings() -> None:
    compiler, headers = shutil.which("cc"), sysconfig.get_path("include")
    if compiler is None or not (Path(headers) / "Python.h").exists():
        pytest.skip("no C compiler or no Python headers")
    options = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only"]
    command = [compiler, *options, "-isystem", headers, str(CHECKOUT / "chat/sockets/fanout.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
