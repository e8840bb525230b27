"""The chat of the page in a real browser, against a real gateway: what viewers and moderators see and do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from runtime.ids import uuid7
from tests.chromium import PROGRAM, Page, open_page
from tests.integration.chat.gateways import Client, Gateway, Person, Site, eventually

WEB = Path(__file__).parents[3] / "web"
SESSION_KEY = "livestream.session"
NASTY = "<img src=x onerror=document.title='owned'> & <b>chess</b>"
STREAM_ID = uuid7()

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")]


@asynccontextmanager
async def origin_of(site: Site, gateway: Gateway, streamer: Person) -> AsyncIterator[str]:
    """The page and the gateway behind one origin, as the edge has them; the stream's own API is a picture of itself."""

    async def stream(_: web.Request) -> web.Response:
        return web.json_response({
            "stream_id": str(STREAM_ID), "channel_id": str(streamer.user_id), "channel_name": streamer.name,
            "title": "Chess", "status": "live", "ended_at": None, "playback_url": None, "recording": None,
        })  # fmt: skip

    async def api(request: web.Request) -> web.Response:
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with site.session.request(
            request.method, gateway.url + request.path_qs, data=await request.read(), headers=headers
        ) as answer:
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type, charset=None
            )

    async def socket(request: web.Request) -> web.WebSocketResponse:
        return await _socket(request, site.session, gateway)

    application = web.Application()
    application.router.add_get("/api/streams/{stream_id}", stream)
    application.router.add_route("*", "/api/chat/{rest:.*}", api)
    application.router.add_get("/chat", socket)
    application.router.add_static("/", WEB)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        yield f"http://127.0.0.1:{listening.port}"
    finally:
        await runner.cleanup()


async def _socket(request: web.Request, session: aiohttp.ClientSession, gateway: Gateway) -> web.WebSocketResponse:
    browser = web.WebSocketResponse()
    await browser.prepare(request)
    async with session.ws_connect(f"{gateway.url}/chat", compress=0) as chat:

        async def up() -> None:
            async for message in browser:
                await chat.send_str(message.data)
            await chat.close()

        upwards = asyncio.create_task(up())
        async for message in chat:
            await browser.send_str(message.data)
        await browser.close(code=chat.close_code or 1011)
        await upwards
    return browser


async def visit(page: Page, origin: str, site: Site, person: Person | None) -> None:
    """Open the stream's page, as somebody or as nobody, and wait until chat has let them in."""
    await page.call("Page.navigate", url=f"{origin}/icon.svg")
    await page.until(f"location.href === {json.dumps(origin + '/icon.svg')} && document.readyState === 'complete'")
    if person is not None:
        user = {"user_id": str(person.user_id), "username": person.name}
        session = json.dumps({"access": site.accounts.token(person), "refresh": "none", "expires": 4e12, "user": user})
        await page.evaluate(f"sessionStorage.setItem({json.dumps(SESSION_KEY)}, {json.dumps(session)})")
    await page.call("Page.navigate", url=f"{origin}/index.html#/watch/{STREAM_ID}")
    await page.until("/here/.test(document.querySelector('#chat-count')?.textContent ?? '')")


async def log_has(page: Page, text: str, *, times: int = 1) -> None:
    await page.until(
        f"[...document.querySelectorAll('#chat-log li')].filter(l => l.textContent.includes({json.dumps(text)})).length"
        f" === {times}"
    )


async def click(page: Page, selector: str) -> None:
    await page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


async def type_and_send(page: Page, text: str) -> None:
    await page.evaluate(f"document.querySelector('#chat-text').value = {json.dumps(text)}")
    await page.evaluate("document.querySelector('#chat-form').requestSubmit()")


async def test_a_viewer_talks_answers_and_sees_what_is_taken_back(site: Site, streamer: Person, tmp_path: Path) -> None:
    gateway = await site.start()
    viewer, friend = Person("viewer"), site.client(streamer.user_id, Person("friend"))
    await friend.join(gateway)
    async with origin_of(site, gateway, streamer) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, site, viewer)
        assert (await friend.say("nasty", NASTY))["type"] == "accepted"
        await log_has(page, NASTY)
        assert await page.evaluate("document.title") != "owned"
        await type_and_send(page, "/me waves")
        await eventually(lambda: _entry(friend, "waves")["kind"] == "action")
        await click(page, "#chat-log li.message")
        await page.until("document.querySelector('#chat-answering').hidden === false")
        await type_and_send(page, "an answer")
        await eventually(lambda: _entry(friend, "an answer").get("reply_to", {}).get("text") == NASTY)
        await log_has(page, "↪ friend")
        status = await call(site, gateway, streamer, "DELETE", streamer.user_id, f"messages/{_id(friend, NASTY)}")
        assert status in (200, 204)
        await log_has(page, "an answer")
        await page.until("!document.querySelector('#chat-log').textContent.includes('chess')")


async def test_a_moderator_silences_clears_and_changes_the_rules(site: Site, streamer: Person, tmp_path: Path) -> None:
    gateway = await site.start()
    pest = site.client(streamer.user_id, Person("pest"))
    await pest.join(gateway)
    async with origin_of(site, gateway, streamer) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, site, streamer)
        await page.until("document.querySelector('#chat-moderation').hidden === false")
        await page.evaluate("document.querySelector('#chat-moderation').slow_seconds.value = 30")
        await page.evaluate("document.querySelector('#chat-moderation').requestSubmit()")
        await page.until("document.querySelector('#chat-rules').textContent.includes('Slow mode: 30 s')")
        assert (await pest.say("one", "buy this"))["type"] == "accepted"
        assert (await pest.say("two", "buy that"))["code"] == "slow-mode"
        await log_has(page, "buy this")
        await click(page, "#chat-log li.message")
        await click(page, "#chat-chosen-timeout")
        await log_has(page, "buy this", times=0)
        await eventually(lambda: "standing" in pest.kinds())
        assert (await pest.say("three", "buy all"))["code"] == "timed-out"


async def test_pins_and_polls_are_shown_and_voted_in(site: Site, streamer: Person, tmp_path: Path) -> None:
    gateway = await site.start()
    viewer, friend = Person("viewer"), site.client(streamer.user_id, Person("friend"))
    await friend.join(gateway)
    await friend.say("pinned", "remember this")
    async with origin_of(site, gateway, streamer) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, site, viewer)
        body = {"message_id": _id(friend, "remember this")}
        assert await call(site, gateway, streamer, "PUT", streamer.user_id, "pin", body) < 300
        await page.until("document.querySelector('#chat-pinned').textContent.includes('remember this')")
        poll = {"question": "Red or blue?", "options": ["red", "blue"], "seconds": 60}
        assert await call(site, gateway, streamer, "POST", streamer.user_id, "polls", poll) == 201
        await page.until("document.querySelectorAll('#chat-poll .option').length === 2")
        await click(page, "#chat-poll .option:last-of-type")
        await page.until("document.querySelector('#chat-poll').textContent.includes('blue · 100 %')")


def _entry(client: Client, text: str) -> dict[str, Any]:
    entries = [entry for frame in client.frames for entry in frame.get("messages", []) if entry.get("text") == text]
    return entries[0] if entries else {"kind": None}


def _id(client: Client, text: str) -> str:
    return str(_entry(client, text)["message_id"])


async def call(
    site: Site, gateway: Gateway, person: Person, method: str, room: UUID, rest: str, body: object = None
) -> int:
    headers = {"Authorization": f"Bearer {site.accounts.token(person)}"}
    url = f"{gateway.url}/api/chat/{room}/{rest}"
    async with site.session.request(method, url, json=body, headers=headers) as answer:
        await answer.read()
        return answer.status
