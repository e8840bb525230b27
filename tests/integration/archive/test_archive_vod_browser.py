"""A recording in hls.js in Chromium: its duration, its chunk borders, every picture and the sound alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from archive.ladder.settings import parse_ladder
from deploy.local.places import CHECKOUT
from runtime.objects import ObjectMissing
from tests.chromium import PROGRAM, Page, open_page
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running
from tests.integration.archive.media_server import MediaServerDisk
from tests.integration.archive.sources import SECONDS, make_source

HLS_JS = CHECKOUT / "web/vendor/hls.min.js"
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(180),
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not HLS_JS.is_file(), reason="hls.js is not installed (make setup)"),
]

TYPES = {"m3u8": "application/vnd.apple.mpegurl", "ts": "video/mp2t"}
# Where the two chunks meet.
BORDER_SECONDS = 4
PLAYER = """<!doctype html><script src="/hls.js"></script><video muted></video><script>
const video = document.querySelector("video");
let hls, errors;
/** Begin anew, in one rendition and no other. */
function load(url, level = -1) {
  hls?.destroy();
  errors = [];
  hls = new Hls({ startPosition: 0, autoStartLoad: false });
  hls.on(Hls.Events.ERROR, (_, error) => {
    // On a busy machine pictures come late, which is no fault of the media; a hole is told otherwise.
    if (error.details !== "bufferStalledError" || error.fatal) {
      errors.push(`${error.details}${error.fatal ? " (fatal)" : ""}`);
    }
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    hls.loadLevel = level;
    hls.startLoad(0);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
}
function play(from) {
  video.currentTime = from;
  return video.play();
}
const ranges = () =>
  Array.from({ length: video.buffered.length }, (_, n) => [video.buffered.start(n), video.buffered.end(n)]);
</script>"""


@asynccontextmanager
async def serving(house: House) -> AsyncIterator[str]:
    """The player and the store's objects, as the edge serves them."""

    async def answer(request: web.Request) -> web.StreamResponse:
        key = request.path.removeprefix("/")
        if key == "":
            return web.Response(text=PLAYER, content_type="text/html")
        if key == "hls.js":
            return web.FileResponse(HLS_JS)
        try:
            body = await house.objects.get_bytes(key, bytes_max=1 << 26)
        except ObjectMissing:
            raise web.HTTPNotFound from None
        return web.Response(body=body, content_type=TYPES[key.rpartition(".")[2]])

    application = web.Application()
    application.router.add_get("/{key:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def recorded(house: House, take: Clip) -> UUID:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(take.segments, take.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    planner = house.planner(ladder=parse_ladder("240p=400k,144p=200k"), with_sound=True)
    async with running(house.shipper(), house.finaliser(), planner, house.worker(), house.completion()):
        done = await house.until_status(stream_id, "completed", "failed")
    assert list(done.renditions) == ["source", "240p", "144p", "audio"], done.failure
    return stream_id


async def check_played(page: Page, height_px: int) -> None:
    """It plays over the border of its chunks, and all of it is there in one piece."""
    await page.until("video.readyState > 2")
    await page.evaluate(f"play({BORDER_SECONDS} - 0.5)")
    await page.until(f"video.currentTime > {BORDER_SECONDS} + 0.5 && video.videoHeight === {height_px}")
    assert abs(await page.evaluate("video.duration") - SECONDS) <= 0.1
    await page.until(f"ranges().some(([start, end]) => start <= 0.1 && end >= {SECONDS} - 0.1)")
    assert len(await page.evaluate("ranges()")) == 1
    assert await page.evaluate("errors") == []


async def check_switched(page: Page, url: str) -> None:
    """While it plays, a viewer chooses another rendition."""
    await page.evaluate(f"load('{url}', 2)")
    await page.until("video.readyState > 2")
    await page.evaluate("play(0)")
    # Slowly, and chosen at once: in the last chunk there is no next one to show it.
    await page.evaluate("video.playbackRate = 0.25")
    await page.until("video.currentTime > 0.2 && video.videoHeight === 270 && (hls.nextLevel = 0, true)")
    await page.evaluate("video.playbackRate = 1")
    await page.until("video.videoHeight === 144")
    assert await page.evaluate("errors") == []


async def test_hls_js_plays_every_rendition_over_every_border(house: House, tmp_path: Path) -> None:
    stream_id = await recorded(house, make_source(tmp_path / "take"))
    async with serving(house) as origin, open_page(tmp_path / "profile") as page:
        await page.call("Page.enable")
        await page.call("Page.navigate", url=origin)
        await page.until("typeof Hls === 'function' && Hls.isSupported()")
        for level, height_px in ((2, 270), (0, 144), (1, 240)):
            await page.evaluate(f"load('/{stream_id}/master.m3u8', {level})")
            await check_played(page, height_px)
            # hls.js leaves sound alone out of its levels as long as there are pictures.
            assert await page.evaluate("hls.levels.map((level) => level.height)") == [144, 240, 270]
        await check_switched(page, f"/{stream_id}/master.m3u8")
        await page.evaluate(f"load('/{stream_id}/audio/index.m3u8')")
        await check_played(page, 0)
