"""Posters and storyboards, made by the real ffmpeg of real segments."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from archive.library.views import archive_view
from archive.pictures.pictures import plan_pictures
from archive.pictures.poster import Posters
from archive.pictures.storyboard import Storyboards
from tests.integration.archive.clips import Clip, make_clip, make_sound
from tests.integration.archive.house import House
from tests.integration.archive.playing import Piece, Recorded, fetched_file, job_state, parts, playing, tool, worked


@pytest.fixture(scope="module")
def black_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s of nothing to be seen."""
    return make_clip(
        tmp_path_factory.mktemp("clips") / "black", seconds=4, size="320x240", rate=15, picture="color=black"
    )


async def planned(house: House, stream_id: UUID) -> None:
    async with house.outbox.transaction() as transaction:
        duration_ms = (await house.recording(stream_id)).duration_ms or 0
        await plan_pictures(transaction.connection, stream_id, duration_ms=duration_ms)


async def size_of(path: Path) -> tuple[int, int]:
    told = await tool("ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "json", str(path))
    stream = json.loads(told)["streams"][0]
    return stream["width"], stream["height"]


async def brightness_of(path: Path, crop: str = "iw:ih:0:0") -> float:
    filters = f"crop={crop},signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-"
    told = await tool("ffmpeg", "-v", "error", "-i", str(path), "-vf", filters, "-f", "null", "-")
    return float(told.rpartition("YAVG=")[2])


async def test_a_recording_gets_a_poster_that_is_not_dark_and_a_storyboard(
    house: House, small_clip: Clip, black_clip: Clip, tmp_path: Path
) -> None:
    # 16 s, dark where a poster is looked for first; the publisher came back twice, with timestamps from 0 each time.
    recorded = Recorded().add(black_clip).add(small_clip).add(black_clip).add(small_clip)
    stream_id = await playing(house, recorded)
    view = archive_view(await house.recording(stream_id), None, playback_path="/recordings")
    assert (view.poster_url, view.storyboard_url) == (None, None)
    await planned(house, stream_id)
    await planned(house, stream_id)
    settings = parts(house, archive_storyboard_seconds=2)
    await worked(house, stream_id, Posters(settings), Storyboards(settings))

    view = archive_view(await house.recording(stream_id), None, playback_path="/recordings")
    assert view.poster_url == f"/recordings/{stream_id}/poster-1.jpg"
    poster = await fetched_file(house, f"{stream_id}/poster-1.jpg", tmp_path / "poster.jpg")
    assert await size_of(poster) == (320, 240)
    assert await brightness_of(poster) > 60

    assert view.storyboard_url == f"/recordings/{stream_id}/storyboard/1.vtt"
    cues = re.findall(
        r"(\S+) --> (\S+)\n(\S+)#xywh=(\d+),(\d+),160,120\n", await house.text(f"{stream_id}/storyboard/1.vtt")
    )
    assert [cue[:3] for cue in cues][::7] == [
        ("00:00:00.000", "00:00:02.000", "0-1.jpg"),
        ("00:00:14.000", "00:00:16.000", "0-1.jpg"),
    ]
    assert len(cues) == 8
    sheet = await fetched_file(house, f"{stream_id}/storyboard/0-1.jpg", tmp_path / "sheet.jpg")
    assert await size_of(sheet) == (800, 240)
    dark = [await brightness_of(sheet, f"160:120:{x}:{y}") < 20 for *_, x, y in cues]
    # On the recording's own line: 4 s dark, 4 s bright, and again.
    assert dark == [True, True, False, False, True, True, False, False]
    assert list(house.work.iterdir()) == []
    named = await house.pool.fetch(
        "select name, role from recording_files where stream_id = $1 order by name", stream_id
    )
    assert [tuple(row) for row in named] == [
        ("poster-1.jpg", "poster"),
        ("storyboard/0-1.jpg", "sprite"),
        ("storyboard/1.vtt", "storyboard"),
    ]


async def test_pictures_are_planned_with_the_ladder(house: House, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    await house.pool.execute(
        "update recordings set status = 'processing', completed_at = null, ladder_planned_at = null"
    )
    await house.planner().plan_published()
    rows = await house.pool.fetch(
        "select kind, urgency, work_ms from jobs where stream_id = $1 order by kind", stream_id
    )
    assert [tuple(row) for row in rows] == [("poster", 1, 1000), ("storyboard", 2, 4000)]


async def test_pixels_that_are_not_square_and_large_pictures_come_out_right(house: House, tmp_path: Path) -> None:
    # 16:9 in pixels that are 4/3 as wide as high, as some capture cards send it.
    wide = make_clip(tmp_path / "wide", seconds=2, size="1440x1080", rate=5, pixel_aspect="4/3")
    stream_id = await playing(house, Recorded().add(wide), width_px=1440, height_px=1080)
    await planned(house, stream_id)
    await worked(house, stream_id, Posters(parts(house)), Storyboards(parts(house)))
    assert await size_of(await fetched_file(house, f"{stream_id}/poster-1.jpg", tmp_path / "poster.jpg")) == (1280, 720)
    sheet = await fetched_file(house, f"{stream_id}/storyboard/0-1.jpg", tmp_path / "sheet.jpg")
    assert await size_of(sheet) == (160, 90)
    # All of the tile is picture: nothing was squeezed, and nothing had to be filled up.
    assert await brightness_of(sheet, "8:90:0:0") > 40


async def test_segments_that_are_broken_or_gone_cost_their_tile(house: House, small_clip: Clip, tmp_path: Path) -> None:
    recorded = Recorded().add(small_clip).add(small_clip)
    recorded.pieces[0] = replace(recorded.pieces[0], body=b"#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1/x.ts\n")
    stream_id = await playing(house, recorded)
    await house.objects.delete(f"{stream_id}/source/2.ts")
    await planned(house, stream_id)
    settings = parts(house, archive_storyboard_seconds=2)
    await worked(house, stream_id, Posters(settings), Storyboards(settings))
    sheet = await fetched_file(house, f"{stream_id}/storyboard/0-1.jpg", tmp_path / "sheet.jpg")
    dark = [await brightness_of(sheet, f"160:120:{x}:0") < 20 for x in (0, 160, 320, 480)]
    assert dark == [True, False, False, False]
    assert await house.objects.head(f"{stream_id}/poster-1.jpg") is not None


async def test_sound_alone_has_no_pictures(house: House, tmp_path: Path) -> None:
    sound = make_sound(tmp_path / "sound")
    stream_id = await playing(house, Recorded([Piece(sound, 2000)]), width_px=0, height_px=0)
    await planned(house, stream_id)
    assert await house.pool.fetchval("select count(*) from jobs") == 0
    # A picture was told of, and there is none: nothing is made, and the recording is what it was.
    await house.pool.execute("update renditions set height_px = 240")
    await planned(house, stream_id)
    await worked(house, stream_id, Posters(parts(house)), Storyboards(parts(house)))
    assert await job_state(house, stream_id, "poster") == "failed"
    assert await job_state(house, stream_id, "storyboard") == "failed"
    assert (await house.recording(stream_id)).status == "completed"
    assert not (await house.recording(stream_id)).files
