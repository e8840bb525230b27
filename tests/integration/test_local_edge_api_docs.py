"""The API of all services at the edge: the document as it is generated, and the page that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import Stack
from tests.chromium import PROGRAM, open_page
from tests.contract.documents import INTERNAL, PUBLIC
from tests.integration.edge import ask

WEB = Path(__file__).parents[2] / "web"
ID = "01922222-2222-7222-8222-222222222222"

# Swagger UI draws what is in sight: how many operations were, from the top to the bottom.
SCROLLED_THROUGH = """
(async () => {
  const seen = new Set();
  for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
    scrollTo(0, y);
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    for (const one of document.querySelectorAll(".opblock")) seen.add(one.id);
  }
  return seen.size;
})()
"""


@pytest.fixture(scope="module")
def port(module_stack: Callable[..., Stack]) -> int:
    """The edge's, with no service behind it: the document is the same whoever is away."""
    return module_stack("nginx").ports["edge"]


def test_the_document_is_served_as_it_was_generated(port: int) -> None:
    answer = ask(port, "/api/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.body == (WEB / "openapi.json").read_bytes()


def test_the_edge_passes_on_what_it_documents_and_nothing_that_is_between_the_services(port: int) -> None:
    """With no service behind it: 502 is what was passed on, and 404 what was not."""
    public, internal = (json.loads(path.read_text())["paths"] for path in (PUBLIC, INTERNAL))
    statuses = {path: ask(port, re.sub(r"{\w+}", ID, path)).status for path in {*public, *internal}}
    assert {path: statuses[path] for path in internal} == dict.fromkeys(internal, 404)
    # the page itself; whoever wants IRC over a WebSocket is passed on
    assert {path: statuses[path] for path in public} == dict.fromkeys(public, 502) | {"/": 200}


@pytest.mark.parametrize(("path", "location"), [("/docs", "/docs/")])
def test_the_page_is_found_without_its_last_slash(port: int, path: str, location: str) -> None:
    answer = ask(port, path)
    assert (answer.status, answer.headers["location"].rpartition(":")[2].lstrip("0123456789")) == (308, location)


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
@pytest.mark.skipif(not (WEB / "vendor/swagger-ui.js").exists(), reason="Swagger UI is not installed (make setup does)")
async def test_the_page_shows_every_operation_and_asks_nobody_else(port: int, tmp_path: Path) -> None:
    document = json.loads((WEB / "openapi.json").read_text())
    operations = sum(len(methods) for methods in document["paths"].values())
    async with open_page(tmp_path / "profile") as page:
        await page.call("Network.enable")
        await page.call("Page.navigate", url=f"http://127.0.0.1:{port}/docs/")
        await page.until("document.querySelector('.opblock') !== null")
        assert await page.evaluate(SCROLLED_THROUGH) == operations
        asked = {
            event["params"]["request"]["url"]
            for event in page.events
            if event.get("method") == "Network.requestWillBeSent"
        }
    assert len(asked) >= 5
    assert all(url.startswith((f"http://127.0.0.1:{port}/", "data:")) for url in asked), asked
