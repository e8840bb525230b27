"""A download in Chromium: it plays to its end across reconnects, can be jumped in, and its storyboard is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from archive.downloads.kind import Downloads
from archive.downloads.requests import DownloadRequests
from archive.pictures.pictures import plan_pictures
from archive.pictures.storyboard import Storyboards
from tests.chromium import PROGRAM, open_page
from tests.integration.archive.clips import Clip, make_clip
from tests.integration.archive.house import House
from tests.integration.archive.playing import Recorded, parts, playing, worked

PAGE = """<!doctype html><video muted><track kind="metadata" default></video><script>
const video = document.querySelector("video"), [file, storyboard] = location.search.slice(1).split(",");
video.textTracks[0].mode = "hidden";
document.querySelector("track").src = storyboard;
video.src = file;
window.cues = () => [...(video.textTracks[0].cues ?? [])].map((cue) => [cue.startTime, cue.text]);
window.wrong = () => video.error?.message ?? null;
</script>"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


@asynccontextmanager
async def served(objects: Path) -> AsyncIterator[str]:
    """A page that plays what is in the store."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    application = web.Application()
    application.add_routes([web.get("/", page), web.static("/recordings", objects)])
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def test_a_download_plays_to_its_end_and_its_storyboard_is_read(
    house: House, small_clip: Clip, tmp_path: Path
) -> None:
    later = make_clip(tmp_path / "later", seconds=4, size="320x240", rate=15, start=90_000, b_frames=2)
    recorded = Recorded().add(small_clip).add(later).add(small_clip)
    stream_id = await playing(house, recorded)
    requests = DownloadRequests(house.pool, keep_seconds=600)
    source = await requests.rendition(stream_id, "source", duration_ms=recorded.duration_ms)
    assert source is not None
    await requests.ask(stream_id, source)
    async with house.outbox.transaction() as transaction:
        await plan_pictures(transaction.connection, stream_id, duration_ms=recorded.duration_ms)
    await worked(house, stream_id, Downloads(parts(house)), Storyboards(parts(house)))

    folder = f"/recordings/{stream_id}"
    async with served(tmp_path / "objects") as origin, open_page(tmp_path / "profile") as page:
        files = f"{folder}/download/source-1.mp4,{folder}/storyboard/1.vtt"
        await page.call("Page.navigate", url=f"{origin}/?{files}")
        await page.until("window.cues && cues().length === 2 && video.readyState >= 2")
        assert await page.evaluate("video.duration") == pytest.approx(12, abs=0.1)
        assert await page.evaluate("cues()") == [[0, "0-1.jpg#xywh=0,0,160,120"], [10, "0-1.jpg#xywh=160,0,160,120"]]
        # From before the second time that the publisher came back, to the end.
        await page.evaluate("new Promise((done) => { video.onseeked = () => done(true); video.currentTime = 7; })")
        await page.evaluate("video.playbackRate = 4, video.play()")
        await page.until("video.ended || wrong()")
        assert await page.evaluate("wrong()") is None
        assert await page.evaluate("video.currentTime") == pytest.approx(12, abs=0.1)
        assert await page.evaluate("[video.videoWidth, video.videoHeight]") == [320, 240]
        assert await page.evaluate("video.getVideoPlaybackQuality().corruptedVideoFrames") == 0
