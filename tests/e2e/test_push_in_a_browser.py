"""The switch in the page and its service worker, in a browser: subscribing, showing what comes, and forgetting.

Push services are not asked: the browser's own subscribing is stood in for, and messages are handed to its worker.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deploy.local.places import CHECKOUT
from notify.webpush.keys import decode_base64url, private_key
from notify.webpush.messages import message_of
from notify.webpush.vapid import Vapid
from runtime.ids import uuid7
from tests.chromium import PROGRAM, Page, open_page
from tests.integration.notify.processes import eventually

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
]

WEB = CHECKOUT / "web"
PUSH = "/api/notifications/push"
VAPID = Vapid(private_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
SUBSCRIPTION = {"endpoint": "https://push.example.net/1", "expirationTime": None, "keys": {"p256dh": "p", "auth": "a"}}
PRESSED = "document.getElementById('push').getAttribute('aria-pressed')"

LOGGED_IN_WITHOUT_A_PUSH_SERVICE = f"""
sessionStorage.setItem("livestream.session", JSON.stringify(
  {{ access: "token", refresh: "r", expires: Date.now() + 3600e3, user: {{ user_id: "u1", username: "ada" }} }}));
PushManager.prototype.getSubscription = async () => window.subscription ?? null;
PushManager.prototype.subscribe = async (wanted) => {{
  window.wanted = wanted;
  return (window.subscription = {{
    options: {{ applicationServerKey: wanted.applicationServerKey.buffer }},
    toJSON: () => ({json.dumps(SUBSCRIPTION)}),
    unsubscribe: async () => {{ window.subscription = null; return true; }},
  }});
}};
"""
SHOWN = """navigator.serviceWorker.getRegistration("/").then((one) => one.getNotifications()).then((shown) =>
  shown.map((one) => ({ title: one.title, body: one.body, tag: one.tag, icon: one.icon, url: one.data.url })))"""


class Origin:
    """The page as the edge serves it, and what it asks of notify."""

    def __init__(self) -> None:
        self.url = ""
        self.subscribed: list[tuple[object, str]] = []
        self.forgotten: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Files of the page; the API's answers."""
        if request.path == f"{PUSH}/key":
            return web.json_response({"public_key": VAPID.public_key})
        if request.path == PUSH and request.method == "POST":
            self.subscribed.append((await request.json(), request.headers["Authorization"]))
            return web.json_response({"subscription_id": "sub-1"})
        if request.method == "DELETE":
            self.forgotten.append(request.path)
            return web.Response(status=204)
        if request.path.startswith("/api/"):
            return web.json_response({"items": [], "next_cursor": None})
        file = WEB / (request.path.lstrip("/") or "index.html")
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(file, headers=headers) if file.is_file() else web.Response(status=404)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server of the page; localhost counts as secure."""
    served = Origin()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def page(origin: Origin, tmp_path: Path) -> AsyncIterator[Page]:
    """The page, with Ada logged in and notifications allowed."""
    async with open_page(tmp_path / "profile") as opened:
        await opened.call("Browser.grantPermissions", origin=origin.url, permissions=["notifications"])
        for domain in ("Page", "Runtime", "ServiceWorker", "Log"):
            await opened.call(f"{domain}.enable")
        await opened.call("Page.addScriptToEvaluateOnNewDocument", source=LOGGED_IN_WITHOUT_A_PUSH_SERVICE)
        await opened.call("Page.navigate", url=f"{origin.url}/")
        await opened.until(f"document.getElementById('push')?.hidden === false && {PRESSED} === 'false'")
        yield opened


async def deliver(page: Page, origin: Origin, text: str) -> None:
    """Hand a message to the page's worker."""
    registrations = [
        one for said in page.said("ServiceWorker.workerRegistrationUpdated") for one in said["registrations"]
    ]
    [registration_id] = {one["registrationId"] for one in registrations if one["scopeURL"] == f"{origin.url}/"}
    await page.call("ServiceWorker.deliverPushMessage", origin=origin.url, registrationId=registration_id, data=text)


async def test_the_switch_subscribes_the_worker_shows_and_the_switch_forgets(page: Page, origin: Origin) -> None:
    await page.evaluate("document.getElementById('push').click()")
    await page.until(f"{PRESSED} === 'true'")
    assert origin.subscribed == [(SUBSCRIPTION, "Bearer token")]
    assert await page.evaluate("window.wanted.userVisibleOnly") is True
    key = await page.evaluate("Array.from(window.wanted.applicationServerKey)")
    assert bytes(key) == decode_base64url(VAPID.public_key)

    await page.until("navigator.serviceWorker.getRegistration('/').then((one) => one?.active?.state === 'activated')")
    await shows_what_comes(page, origin)

    await page.evaluate("document.getElementById('push').click()")
    await page.until(f"{PRESSED} === 'false'")
    assert origin.forgotten == [f"{PUSH}/sub-1"]
    assert await page.evaluate("window.subscription") is None
    assert not page.said("Runtime.exceptionThrown")
    assert not [one["entry"]["text"] for one in page.said("Log.entryAdded")], "such as what the page's policy forbids"


async def shows_what_comes(page: Page, origin: Origin) -> None:
    """Text as text, a repetition once, and no address but our own."""
    stream_id = uuid7()
    notice: dict[str, Any] = {"fanout_id": stream_id, "stream_id": stream_id, "kind": "stream.started"}
    payload = message_of({**notice, "channel_name": "ada", "title": "<b>chess</b>"}).payload.decode()
    await deliver(page, origin, payload)
    await page.until(f"{SHOWN}.then((shown) => shown.some((one) => one.tag === '{stream_id}'))")
    await deliver(page, origin, payload)
    elsewhere = ("https://evil.example/", "//evil.example/", "javascript:alert(1)", "https://[")
    for number, url in enumerate(elsewhere):
        await deliver(page, origin, json.dumps({"title": "elsewhere", "tag": f"e{number}", "url": url, "icon": url}))
        # one after the other: a worker that is being started may lose what the protocol hands it meanwhile
        await page.until(f"{SHOWN}.then((shown) => shown.some((one) => one.tag === 'e{number}'))")
    await deliver(page, origin, "not JSON")
    await page.until(f"{SHOWN}.then((shown) => shown.length === {2 + len(elsewhere)})")
    shown = {one["tag"]: one for one in await page.evaluate(SHOWN)}
    assert shown[str(stream_id)] == {
        "title": "ada is live",
        "body": "<b>chess</b>",
        "tag": str(stream_id),
        "icon": f"{origin.url}/icon.svg",
        "url": f"{origin.url}/#/watch/{stream_id}",
    }
    assert {shown[f"e{number}"]["url"] for number in range(len(elsewhere))} == {f"{origin.url}/"}
    assert shown[""]["title"] == "LiveStream"


async def test_each_visit_says_again_what_was_switched_on(page: Page, origin: Origin) -> None:
    await page.evaluate("document.getElementById('push').click()")
    await page.until(f"{PRESSED} === 'true'")
    await page.call("Page.reload")
    await eventually(lambda: len(origin.subscribed) == 2)
    assert origin.subscribed == [(SUBSCRIPTION, "Bearer token")] * 2
