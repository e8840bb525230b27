"""The client that posts to addresses that strangers chose, against a server that means no good."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from notify.deliveries.settings import DeliverySettings
from notify.outbound import AddressRefused, Answer, Outbound, OutboundFailed, parse_retry_after
from tests.integration.notify.processes import eventually
from tests.integration.notify.sink import Post, Sink, running_sink, status_answer

LOOPBACK = "127.0.0.0/8"


class Names(AbstractResolver):
    """A resolver whose answers the test gives: the next one each time it is asked, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        address = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=6, flags=0)]

    async def close(self) -> None:
        pass


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


@asynccontextmanager
async def outbound_of(*allow: str, names: Names | None = None) -> AsyncIterator[Outbound]:
    settings = DeliverySettings(notify_outbound_allow=[ip_network(one) for one in allow])
    outbound = Outbound(settings, names=names)
    try:
        yield outbound
    finally:
        await outbound.close()


async def post(outbound: Outbound, url: str, *, seconds_max: float = 5.0) -> Answer:
    return await outbound.post(url, body=b"hello", headers={"X-Test": "1"}, seconds_max=seconds_max)


async def test_an_answer_comes_with_its_status_its_beginning_and_what_it_asks_for(sink: Sink) -> None:
    async with outbound_of(LOOPBACK) as outbound:
        assert (await post(outbound, f"{sink.url}/200/a")).status == 200
        busy = await post(outbound, f"{sink.url}/429")
    assert (busy.status, busy.retry_after) == (429, timedelta(seconds=7))
    assert [(one.path, one.body, one.headers["x-test"]) for one in sink.posts] == [
        ("/200/a", b"hello", "1"),
        ("/429", b"hello", "1"),
    ]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost"],  # noqa: S104  addresses to refuse
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_spelling_of_this_machine_is_connected_to(sink: Sink, scheme: str, host: str) -> None:
    async with outbound_of() as outbound:
        url = f"{scheme}://{host}:{sink.port}/200"
        with pytest.raises(AddressRefused):
            await post(outbound, url)
        with pytest.raises(AddressRefused):
            await outbound.check_url(url)
    assert not sink.posts


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"])
async def test_a_name_is_judged_by_the_address_that_is_connected_to(sink: Sink, address: str) -> None:
    async with outbound_of(names=Names(address)) as outbound:
        with pytest.raises(AddressRefused, match="behind the name"):
            await post(outbound, f"https://example.org:{sink.port}/200")
        with pytest.raises(AddressRefused, match="behind the name"):
            await outbound.check_url(f"https://example.org:{sink.port}/200")


async def test_a_name_that_changes_its_address_after_it_was_registered_is_refused(sink: Sink) -> None:
    names = Names("93.184.216.34", "127.0.0.1")
    async with outbound_of(names=names) as outbound:
        url = f"https://example.org:{sink.port}/200"
        await outbound.check_url(url)
        with pytest.raises(AddressRefused):
            await post(outbound, url)
    assert names.asked == 2
    assert not sink.posts


async def test_an_allowed_network_does_not_open_others_and_public_ones_need_tls(sink: Sink) -> None:
    async with outbound_of("10.1.0.0/16", names=Names("127.0.0.1")) as outbound:
        for url in (f"{sink.url}/200", f"http://localhost:{sink.port}/200", "http://example.org/200"):
            with pytest.raises(AddressRefused):
                await post(outbound, url)
    assert not sink.posts


async def test_a_redirect_is_a_failure_that_says_so(sink: Sink) -> None:
    async with outbound_of(LOOPBACK) as outbound:
        with pytest.raises(OutboundFailed, match=r"redirect \(302\)") as failed:
            await post(outbound, f"{sink.url}/302")
    assert failed.value.status == 302
    assert sink.by_path() == {"/302": 1}


async def test_proxies_of_the_environment_are_not_used(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, sink.url)
    async with running_sink() as other, outbound_of(LOOPBACK) as outbound:
        await post(outbound, f"{other.url}/200/direct")
        assert other.by_path() == {"/200/direct": 1}
    assert not sink.posts


async def test_ten_megabytes_are_cut_off_after_four_kilobytes(sink: Sink) -> None:
    async with outbound_of(LOOPBACK) as outbound:
        answer = await post(outbound, f"{sink.url}/large")
        assert answer.excerpt == b"x" * 4_096
        await eventually(lambda: sink.aborted == 1)
    assert sink.bytes_written < 9_000_000  # what had gone into the buffers of the two sockets


async def test_what_is_allowed_may_have_a_name_of_its_own_and_a_public_address_needs_tls_all_the_same(
    sink: Sink,
) -> None:
    async with outbound_of(LOOPBACK, names=Names("127.0.0.1")) as outbound:
        url = f"http://hooks.lan:{sink.port}/200"
        await outbound.check_url(url)
        assert (await post(outbound, url)).status == 200
    async with outbound_of(LOOPBACK, names=Names("93.184.216.34")) as outbound:
        for url in ("http://hooks.lan:8080/", "http://example.org/"):
            with pytest.raises(AddressRefused):
                await outbound.check_url(url)
            with pytest.raises(AddressRefused, match="without TLS"):
                await post(outbound, url)
        with pytest.raises(AddressRefused):
            await post(outbound, "https://example.org:22/")


@pytest.mark.parametrize("path", ["/drip", "/silent"])
async def test_whoever_takes_their_time_has_as_much_as_the_caller_gives(sink: Sink, path: str) -> None:
    began = time.monotonic()
    async with outbound_of(LOOPBACK) as outbound:
        with pytest.raises(OutboundFailed, match=r"0\.4 s"):
            await post(outbound, sink.url + path, seconds_max=0.4)
    assert time.monotonic() - began < 10


async def test_endless_headers_and_closed_ports_are_failures(sink: Sink) -> None:
    async with outbound_of(LOOPBACK) as outbound:
        with pytest.raises(OutboundFailed):
            await post(outbound, f"{sink.url}/headers")
        with socket.socket() as deaf:  # bound, so that nobody else takes the port, and not listening
            deaf.bind(("127.0.0.1", 0))
            with pytest.raises(OutboundFailed):
                await post(outbound, f"http://127.0.0.1:{deaf.getsockname()[1]}/")


async def test_tls_is_verified(sink: Sink) -> None:
    async with outbound_of(LOOPBACK) as outbound:
        with pytest.raises(OutboundFailed):
            await post(outbound, f"https://127.0.0.1:{sink.port}/200")


async def test_closing_waits_for_what_is_under_way(sink: Sink) -> None:
    release = asyncio.Event()

    async def answer(_: Post) -> web.Response:
        await release.wait()
        return status_answer(200)

    sink.answers["/slow"] = answer
    async with outbound_of(LOOPBACK) as outbound:
        running = asyncio.create_task(outbound.run())
        posting = asyncio.create_task(post(outbound, f"{sink.url}/slow", seconds_max=30))
        await sink.wait_for(1)
        running.cancel()
        await asyncio.wait([running, posting], timeout=0.1)
        assert not running.done()
        release.set()
        assert (await posting).status == 200
        await asyncio.wait([running], timeout=15)
        assert running.cancelled()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "http://example.org/",
        "https://user:secret@example.org/",
        "https://example.org:22/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org/#x",
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/",
        "https:///path",
        "https://[::1/",
        "https://postgres:5432/",
        "https://db.internal/",
        "https://bücher.example/",
        "https://example.org/" + "x" * 3_000,
        "file:///etc/passwd",
        "https://0x7f.1/",
    ],
)
async def test_urls_that_are_refused_by_their_text(url: str) -> None:
    async with outbound_of(names=Names("93.184.216.34")) as outbound:
        with pytest.raises(AddressRefused):
            await outbound.check_url(url)


@pytest.mark.parametrize("url", ["https://example.org/hook?x=1", "https://example.org:8443/", "https://1.1.1.1/x"])
async def test_urls_that_are_taken(url: str) -> None:
    async with outbound_of(names=Names("93.184.216.34")) as outbound:
        await outbound.check_url(url)


def test_retry_after_is_read_as_seconds_and_as_a_date_and_is_bounded() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after("120", now) == timedelta(minutes=2)
    assert parse_retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now) == timedelta(minutes=1)
    assert parse_retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now) == timedelta()
    assert parse_retry_after("9" * 40, now) == timedelta(days=1)
    assert [parse_retry_after(text, now) for text in (None, "", "soon", "-5", "1.5", "٣")] == [None] * 6
