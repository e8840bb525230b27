"""Captions in hls.js: a cue is shown when it was said, wherever the timestamps of the stream begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.library.captions import CaptionStore
from archive.library.webvtt import read_captions
from tests.chromium import open_page
from tests.integration.archive.clips import make_clip
from tests.integration.archive.house import House
from tests.integration.archive.player import NEEDED, served
from tests.integration.archive.playing import Recorded, playing

VTT = b"WEBVTT\n\n00:01.000 --> 00:02.000\nFirst\n\n00:05.000 --> 00:05.500\nAfter the publisher came back\n"
PAGE = """<!doctype html><video muted></video><script src="/hls.js"></script><script>
const hls = new Hls(), video = document.querySelector("video");
hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => { hls.subtitleTrack = 0; hls.subtitleDisplay = true; });
window.cues = () => [...video.textTracks].flatMap((track) => [...(track.cues ?? [])])
  .map((cue) => [cue.startTime, cue.text]);
window.begins = () => video.buffered.length ? video.buffered.start(0) : null;
hls.loadSource(location.search.slice(1));
hls.attachMedia(video);
</script>"""

pytestmark = NEEDED


async def test_hls_js_shows_cues_at_their_time(house: House, tmp_path: Path) -> None:
    first = make_clip(tmp_path / "first", seconds=4, size="320x240", rate=15, start=10_000)
    again = make_clip(tmp_path / "again", seconds=2, size="320x240", rate=15, start=77)
    stream_id = await playing(house, Recorded().add(first).add(again))
    store = CaptionStore(house.pool, house.outbox, house.objects, house.runner, house.work)
    recording = await house.recording(stream_id)
    file = await store.put(recording, "en", "English", read_captions(VTT))
    assert "MPEGTS:90" in await house.text(f"{stream_id}/{file.name}"), "the stream does not begin at 0"
    async with served(tmp_path / "objects", PAGE) as origin, open_page(tmp_path / "profile") as page:
        await page.call("Page.navigate", url=f"{origin}/?/recordings/{stream_id}/master.m3u8")
        await page.until("window.cues && cues().length === 2 && begins() !== null")
        begins = await page.evaluate("begins()")
        cues = await page.evaluate("cues()")
    assert begins == pytest.approx(0, abs=0.1)
    assert [text for _, text in cues] == ["First", "After the publisher came back"]
    assert [start for start, _ in cues] == pytest.approx([1.0, 5.0], abs=0.1)
