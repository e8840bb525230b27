"""An exact clip in hls.js: no hole at the seams, and the right picture at every moment."""

from __future__ import annotations

from pathlib import Path

from tests.chromium import open_page
from tests.integration.archive.clipping import asked, clip_kind
from tests.integration.archive.counted import BITS, BLOCK_PX, HEIGHT_PX, RATE, WIDTH_PX, make_counted, recorded
from tests.integration.archive.house import House, running
from tests.integration.archive.player import NEEDED, served

PAGE = f"""<!doctype html><video muted></video><script src="/hls.js"></script><script>
const hls = new Hls({{maxBufferLength: 60}}), video = document.querySelector("video"), faults = [];
hls.on(Hls.Events.ERROR, (_, fault) => faults.push(fault.details));
const canvas = new OffscreenCanvas({WIDTH_PX}, {HEIGHT_PX}), drawing = canvas.getContext("2d");
async function pictureAt(seconds) {{
  // A frame from before the seek may still be on its way to the screen, and a busy browser may show none for it.
  do video.currentTime = seconds; while (!(Math.abs(await new Promise((resolve) => {{
    video.requestVideoFrameCallback((_, frame) => resolve(frame.mediaTime - seconds));
    setTimeout(resolve, 3_000, NaN);
  }})) <= 0.15));
  drawing.drawImage(video, 0, 0);
  const row = drawing.getImageData(0, {HEIGHT_PX // 2}, {WIDTH_PX}, 1).data;
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit++) if (row[4 * (bit * {BLOCK_PX} + {BLOCK_PX // 2})] > 127) number += 1 << bit;
  return number;
}}
const spans = () => [...Array(video.buffered.length).keys()].map(
  (at) => [video.buffered.start(at), video.buffered.end(at)]
);
hls.loadSource(location.search.slice(1));
hls.attachMedia(video);
</script>"""

pytestmark = NEEDED


async def test_hls_js_plays_over_the_seams_of_an_exact_clip(house: House, tmp_path: Path) -> None:
    original_id = await recorded(house, make_counted(tmp_path / "counted", seconds=8, start=1_000))
    clip_id = await asked(house, original_id, 500, 7_000, exact=True)
    async with running(house.worker(clip_kind(house)), house.finaliser()):
        await house.until_status(clip_id, "processing", "completed")
    async with served(tmp_path / "objects", PAGE) as origin, open_page(tmp_path / "profile") as page:
        await page.call("Page.navigate", url=f"{origin}/?/recordings/{clip_id}/source/index.m3u8")
        await page.until("typeof spans === 'function' && spans().some((span) => span[1] > 6.4)")
        buffered = await page.evaluate("spans()")
        duration = await page.evaluate("video.duration")
        seen = {}
        # In the first piece, around the seams at 1.5 and 5.5 s, and in the last piece.
        for seconds in (0.25, 1.25, 1.75, 3.5, 5.25, 5.75, 6.4):
            seen[seconds] = await page.evaluate(f"pictureAt({seconds})")
        faults = await page.evaluate("faults")
    assert faults == []
    assert len(buffered) == 1, "there is a hole"
    # After a discontinuity hls.js begins where the first picture is decoded: with B-frames two before it is shown.
    assert abs(duration - 6.5) <= 0.1
    for seconds, number in seen.items():
        # Its middle is meant: the moment may be anywhere in the picture's time.
        assert abs(number + 0.5 - (15 + seconds * RATE)) <= 0.1 * RATE + 0.5, seen
