"""Answers that are encoded already: their tag, their gzip form, and what caches ask for again; on a real socket."""

import gzip
import json
from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel

from runtime.endpoints import endpoint
from runtime.http_server import HttpServer
from runtime.ready import Ready
from runtime.settings import HttpSettings
from tests.contract.held_client import HeldClient, held_client


class Words(BaseModel):
    """Some words."""

    words: list[str]


READY: Ready[Words] = Ready.of(Words(words=["lively"] * 500))
SHORT: Ready[Words] = Ready.of(Words(words=["short"]), {"Cache-Control": "no-store"})


class Dictionary:
    """An API that keeps its answers ready."""

    @endpoint("GET", "/words", headers={"Cache-Control": "public, max-age=1"})
    async def words(self) -> Ready[Words]:
        """Many."""
        return READY

    @endpoint("GET", "/word")
    async def word(self) -> Ready[Words]:
        """One."""
        return SHORT

    @endpoint("GET", "/wrong")
    async def wrong(self) -> Ready[Words]:
        """Bytes that the document does not hold."""
        return Ready(b'{"words":[1]}', 'W/"x"')


@pytest.fixture
async def client() -> AsyncIterator[HeldClient]:
    api = Dictionary()
    async with held_client(HttpServer([api], settings=HttpSettings()), [api]) as held:
        yield held


PLAIN = {"Accept-Encoding": "identity"}


async def test_the_bytes_are_sent_with_their_tag_and_headers(client: HeldClient) -> None:
    answer = await client.get("/words", headers=PLAIN)
    assert (answer.status, answer.content) == (200, READY.body)
    assert answer.headers["ETag"] == READY.etag
    assert answer.headers["Cache-Control"] == "public, max-age=1"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert (await client.get("/word")).headers["Cache-Control"] == "no-store"
    head = await client.request("HEAD", "/words", headers=PLAIN)
    assert (head.status, head.content, head.headers["Content-Length"]) == (200, b"", str(len(READY.body)))


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False), ("xgzip", False)],
)
async def test_gzip_is_for_those_who_read_it(client: HeldClient, accepted: str, zipped: bool) -> None:
    answer = await client.get("/words", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
    assert json.loads(READY.body) == answer.body
    assert READY.zipped is not None
    assert gzip.decompress(READY.zipped) == READY.body
    assert "Content-Encoding" not in (await client.get("/word", headers={"Accept-Encoding": "gzip"})).headers


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (READY.etag, 304),
        (READY.etag.removeprefix("W/"), 304),
        (f'"a", {READY.etag}', 304),
        ("*", 304),
        ('W/"a"', 200),
        ("", 200),
        (READY.etag.strip('W/"'), 200),
        ("é\t,,,", 200),
        ('"' * 4_000, 200),
    ],
)
async def test_who_has_the_bytes_is_told_so(client: HeldClient, known: str, status: int) -> None:
    answer = await client.get("/words", headers={"If-None-Match": known})
    assert answer.status == status
    if status == 304:
        assert answer.content == b""
        assert answer.headers["ETag"] == READY.etag
        assert answer.headers["Cache-Control"] == "public, max-age=1"


async def test_the_document_holds_the_bytes(client: HeldClient) -> None:
    with pytest.raises(AssertionError, match="is not of type 'string'"):
        await client.get("/wrong")


def test_the_same_answer_has_the_same_tag_and_another_has_another() -> None:
    assert Ready.of(Words(words=["a"])).etag == Ready.of(Words(words=["a"])).etag != Ready.of(Words(words=["b"])).etag
