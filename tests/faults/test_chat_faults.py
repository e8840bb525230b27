"""A room on three gateways while everything below it breaks: nobody misses, doubles or reorders a message untold.

Some hundred clients in `make test`, 2,000 in `make faults`. Some leave and come back all the time; the speakers repeat
what is not acknowledged. Afterwards what everybody heard is judged (`chat_history.judge`).
"""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from redis import Redis

from tests import engines
from tests.conftest import FaultPlan
from tests.faults.chat_crowd import Crowd
from tests.faults.chat_history import Verdict, judge
from tests.free_ports import free_port
from tests.integration.chat.gateways import Accounts, Person, chat_environment
from tests.integration.chat.wire import make_room, published_keys, rss_bytes, start_gateway, wait_until_ready

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

GATEWAYS = 3
SPEAKERS = 20
PAUSE_SECONDS = 0.5
SETTLE_SECONDS = 60.0
BACKLOG_BYTES, SEND_BUFFER_BYTES = 65_536, 32_768
TURNS_MAX = 3
IDLE_BYTES_MAX = 40 * 1024
"""Of a gateway's memory for each idle reader; with some gateways a crowd is not spread evenly."""
TICK_SECONDS = 0.1
KERNEL_BYTES_OTHERS, GROWN_BYTES_OTHERS = 16 * 1024 * 1024, 24 * 1024 * 1024
"""What the sockets of others on the machine, and what is not for each client, may take."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Size:
    """How big a run is."""

    readers: int
    frozen_seconds: float
    blows: int


SAMPLE = Size(readers=280, frozen_seconds=7.0, blows=2)
FULL = Size(readers=2_000, frozen_seconds=30.0, blows=6)


@dataclass
class Redis7:
    """A Redis of the test's own, with an append-only file, that can be struck."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=5)

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory),
             "--save", "", "--appendonly", "yes", "--loglevel", "warning"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Site:
    """Three gateways on one Redis and one database."""

    database: engines.Database
    redis: Redis7
    environment: dict[str, str]
    accounts: Accounts
    log: Path
    gateways: "list[tuple[int, subprocess.Popen[bytes]]]" = field(default_factory=list)

    @property
    def ports(self) -> list[int]:
        return [port for port, _ in self.gateways]

    def start(self, port: int | None = None) -> None:
        self.gateways.append(start_gateway(self.environment, self.log, port))

    def wait(self) -> None:
        for port, process in self.gateways:
            wait_until_ready(port, process, self.log)

    def kill(self, number: int) -> int:
        port, process = self.gateways.pop(number)
        process.kill()
        process.wait()
        return port

    def rss_bytes(self) -> int:
        return max(rss_bytes(process.pid) for _, process in self.gateways)


@pytest.fixture(scope="module")
def site(postgres_dsn: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What all scenarios strike at, each in a room of its own."""
    directory = tmp_path_factory.mktemp("chat-faults")
    accounts, redis = Accounts(), Redis7(directory)
    redis.start()
    with engines.fresh_database(postgres_dsn, template=migrated_template) as database, published_keys(accounts) as keys:
        environment = chat_environment(
            {
                "LIVESTREAM_POSTGRES_DSN": database.url,
                "LIVESTREAM_BUS_BACKEND": "postgres",
                "LIVESTREAM_REDIS_URL": redis.url,
                "LIVESTREAM_JWKS_URL": keys,
                "LIVESTREAM_PUBLIC_URL": "http://edge.test",
                "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
                "LIVESTREAM_CHAT_CONNECTIONS_PER_ADDRESS_MAX": "12000",
                "LIVESTREAM_CHAT_BACKLOG_BYTES_MAX": str(BACKLOG_BYTES),
                "LIVESTREAM_CHAT_SEND_BUFFER_BYTES": str(SEND_BUFFER_BYTES),
            }
        )
        made = Site(database, redis, environment, accounts, directory / "chat.log")
        for _ in range(GATEWAYS):
            made.start()
        try:
            made.wait()
            yield made
        finally:
            for _, process in made.gateways:
                process.kill()
                process.wait()
            redis.signal(signal.SIGCONT)
            redis.kill()


@dataclass
class Run:
    """One scenario: a crowd in a room, and what strikes it."""

    site: Site
    size: Size
    chance: random.Random
    crowd: Crowd

    async def blocking(self, work: Callable[..., object], *arguments: object) -> None:
        await asyncio.to_thread(work, *arguments)


async def frozen(run: Run) -> None:
    """Redis answers nothing for longer than the watch waits, and then goes on."""
    run.site.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(run.size.frozen_seconds)
    finally:
        run.site.redis.signal(signal.SIGCONT)


async def killed(run: Run) -> None:
    """Redis is killed and comes back with what its file has."""
    for _ in range(max(1, run.size.blows // 2)):
        run.site.redis.kill()
        await asyncio.sleep(run.chance.uniform(0.2, 2.0))
        run.site.redis.start()
        await asyncio.sleep(run.chance.uniform(2.0, 4.0))


async def flushed(run: Run) -> None:
    """Redis is emptied: positions begin anew, in another epoch."""
    for _ in range(run.size.blows):
        with run.site.redis.client() as redis:
            await run.blocking(redis.flushall)
        await asyncio.sleep(run.chance.uniform(0.5, 2.0))


async def unheard(run: Run) -> None:
    """The subscriptions of all gateways are cut, again and again."""
    with run.site.redis.client() as redis:
        for _ in range(run.size.blows * 5):
            await run.blocking(redis.client_kill_filter, None, "pubsub")
            await asyncio.sleep(run.chance.uniform(0.0, 0.6))


async def gateway_killed(run: Run) -> None:
    """Gateways are killed in turn; each has a successor."""
    for _ in range(run.size.blows // 2):
        port = run.site.kill(0)
        await asyncio.sleep(run.chance.uniform(0.1, 1.0))
        run.site.start(port)
        await run.blocking(run.site.wait)
        await asyncio.sleep(0.5)


Blow = Callable[[Run], Awaitable[None]]
BLOWS: tuple[Blow, ...] = (frozen, killed, flushed, unheard, gateway_killed)


@pytest.fixture
def size(fault_plan: FaultPlan) -> Size:
    return SAMPLE if fault_plan.points < 10 else FULL


@pytest.mark.parametrize("blow", BLOWS, ids=lambda blow: blow.__name__)
def test_nobody_misses_anything_untold(site: Site, size: Size, fault_plan: FaultPlan, blow: Blow) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        verdict, crowd = runner.run(_struck(site, size, random.Random(fault_plan.seed), blow))
    told = f"{blow.__name__}: {len(crowd.acknowledged)} acknowledged, {verdict}"
    print(told)  # noqa: T201  a report of the fault run
    assert verdict.faults() == {}, told
    assert verdict.received > len(crowd.acknowledged) * size.readers * 0.3, told
    if blow is flushed:
        assert verdict.told >= size.readers, told
    if blow in (frozen, killed):
        assert any("unavailable" in speaker.refusals for speaker in crowd.speakers), told


async def _struck(site: Site, size: Size, chance: random.Random, blow: Blow) -> tuple[Verdict, Crowd]:
    async with _crowd(site, size, chance) as crowd:
        churning = crowd.start(crowd.churn(per_second=size.readers / 100))
        striking = crowd.start(_after(0.5, blow(Run(site, size, chance, crowd))))
        while not striking.done():
            await crowd.speak(0.5, PAUSE_SECONDS)
        striking.result()
        await crowd.speak(0.5, PAUSE_SECONDS)
        churning.cancel()
        await _settle(crowd)
        return judge(crowd.histories(), crowd.sent, crowd.acknowledged), crowd


async def _after(seconds: float, work: Awaitable[None]) -> None:
    await asyncio.sleep(seconds)
    await work


async def _settle(crowd: Crowd) -> None:
    """All are back, and have heard a last word of each speaker."""
    await crowd.until(lambda: all(one.joined for one in [*crowd.readers, *crowd.speakers]), SETTLE_SECONDS)
    await crowd.speak(0.1, 0.01)
    await crowd.until(crowd.caught_up, SETTLE_SECONDS)


@asynccontextmanager
async def _crowd(site: Site, size: Size, chance: random.Random, deaf: int = 0) -> AsyncIterator[Crowd]:
    room = await asyncio.to_thread(make_room, site.database, "faults")
    crowd = Crowd(room, site.ports, chance)
    tokens = [site.accounts.token(Person(f"s{number}")) for number in range(SPEAKERS)]
    try:
        await crowd.gather(size.readers, deaf, tokens)
        yield crowd
    finally:
        await crowd.leave()


@dataclass
class Measured:
    """One run of talking: how late messages came, what it cost the kernel and us, who was cut."""

    p99_seconds: float
    kernel_bytes: int
    grown_bytes: int
    cut: int


def test_a_tenth_that_never_reads_costs_the_others_little(site: Site, size: Size, fault_plan: FaultPlan) -> None:
    """Neither time nor memory: p99 of the others at most twice that without them, and what waits for the deaf bounded.

    By turns without and with them, since the machine has other work: what the deaf cost, they cost every time.
    """
    seconds = 3.0 if size is SAMPLE else 20.0
    deaf = size.readers // 10
    chance = random.Random(fault_plan.seed)
    ratios: list[float] = []
    kernel_bytes: list[int] = []
    kernel_bytes_max = KERNEL_BYTES_OTHERS + deaf * 4 * (SEND_BUFFER_BYTES + 2 * BACKLOG_BYTES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(TURNS_MAX):
            alone = runner.run(_measured(site, size, chance, 0, seconds))
            beside = runner.run(_measured(site, size, chance, deaf, seconds))
            print(f"{deaf} deaf: {beside}, without: {alone}")  # noqa: T201  a report of the fault run
            assert beside.cut >= deaf, beside
            assert beside.grown_bytes <= GROWN_BYTES_OTHERS + deaf * 2 * BACKLOG_BYTES
            ratios.append(beside.p99_seconds / max(alone.p99_seconds, TICK_SECONDS))
            kernel_bytes.append(beside.kernel_bytes)
            if ratios[-1] <= 2 and kernel_bytes[-1] <= kernel_bytes_max:
                break
    assert min(ratios) <= 2, ratios
    assert min(kernel_bytes) <= kernel_bytes_max, kernel_bytes


def test_idle_readers_cost_little_and_hear_at_once(site: Site, fault_plan: FaultPlan, size: Size) -> None:
    """Anonymous ones in a quiet room: their memory is bounded and given back, and one message reaches all of them."""
    idle = 300 if size is SAMPLE else 10_000
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        grown, seconds = runner.run(_idle(site, Size(idle, 0, 0), random.Random(fault_plan.seed)))
    told = f"{idle} idle: {grown / idle * GATEWAYS / 1024:.1f} KiB a socket, all told after {seconds:.2f} s"
    print(told)  # noqa: T201  a report of the fault run
    assert grown <= 8 * 1024 * 1024 + idle / GATEWAYS * IDLE_BYTES_MAX, told
    assert seconds < 10, told


async def _idle(site: Site, size: Size, chance: random.Random) -> tuple[int, float]:
    before = site.rss_bytes()
    async with _crowd(site, size, chance) as crowd:
        grown = site.rss_bytes() - before
        began = asyncio.get_running_loop().time()
        await crowd.speak(0.01, 0.01)
        await crowd.until(crowd.caught_up, SETTLE_SECONDS)
        assert judge(crowd.histories(), crowd.sent, crowd.acknowledged).faults() == {}
        return grown, asyncio.get_running_loop().time() - began


async def _measured(site: Site, size: Size, chance: random.Random, deaf: int, seconds: float) -> Measured:
    kernel_before, rss_before, cut_before = _kernel_tcp_bytes(), site.rss_bytes(), _cut(site)
    async with _crowd(site, size, chance, deaf) as crowd:
        crowd.delays.clear()
        kernel_most = 0
        speaking = crowd.start(crowd.speak(seconds, PAUSE_SECONDS / 3))
        while not speaking.done():
            kernel_most = max(kernel_most, _kernel_tcp_bytes() - kernel_before)
            await asyncio.sleep(0.1)
        speaking.result()
        more_until = time.monotonic() + SETTLE_SECONDS
        while _cut(site) - cut_before < deaf and time.monotonic() < more_until:
            await crowd.speak(1.0, PAUSE_SECONDS / 3)  # a slow machine has said less by now than fills their buffers
        await crowd.until(crowd.caught_up, SETTLE_SECONDS)
        assert judge(crowd.histories(), crowd.sent, crowd.acknowledged).faults() == {}
        delays = sorted(crowd.delays)
        p99 = delays[int(len(delays) * 0.99)]
        return Measured(p99, kernel_most, site.rss_bytes() - rss_before, _cut(site) - cut_before)


def _cut(site: Site) -> int:
    return site.log.read_text().count("chat_slow_client_cut")


def _kernel_tcp_bytes() -> int:
    """What the kernel's TCP holds in buffers, of all processes here."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("mem") + 1]) * PAGE_BYTES
    raise AssertionError("no TCP in sockstat")
