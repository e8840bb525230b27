"""Where pictures are taken from, how a storyboard is laid out, and the argument lists that make them."""

from pathlib import Path

import pytest

from archive.ladder.ladder import SourceSegment
from archive.pictures.arguments import poster_arguments, read_brightness, sheet_arguments, tile_arguments
from archive.pictures.layout import Layout, lay_out, poster_segments, storyboard_vtt, tile_segments

INPUT = "ffmpeg -f mpegts -max_pixels 37748736 -protocol_whitelist file"
JPEG = "-f image2 -c:v mjpeg -frames:v 1 -pix_fmt yuvj420p -q:v {quality} -threads 1 -update 1 /w/out.jpg"
GLOBAL = "-nostdin -hide_banner -loglevel error -nostats -y"
HOUR_MS = 3_600_000


def segments(*durations_ms: int) -> list[SourceSegment]:
    return [SourceSegment(at, duration_ms, 1, discontinuity=False) for at, duration_ms in enumerate(durations_ms)]


def test_a_poster_is_the_most_typical_picture_made_small_and_square() -> None:
    graph = (
        r"[0:v:0]scale=h=trunc(ow/dar/2)*2:w=trunc(min(min(1280\,iw*sar)\,1280*dar)/2)*2[s0];[s0]setsar=1[s1];"
        "[s1]thumbnail=n=100[s2];[s2]signalstats[s3];[s3]metadata=file=-:key=lavfi.signalstats.YAVG:mode=print[s4]"
    )
    argv = poster_arguments(Path("/w/in.ts"), Path("/w/out.jpg"))
    expected = f"{INPUT} -threads 1 -i /w/in.ts -filter_complex {graph} -map [s4] {JPEG.format(quality=3)} {GLOBAL}"
    assert " ".join(argv) == expected


def test_a_tile_takes_one_key_frame() -> None:
    graph = (
        "[0:v:0]scale=h=ih:w=trunc(iw*sar/2)*2[s0];[s0]setsar=1[s1];"
        "[s1]scale=160:90:force_original_aspect_ratio=decrease[s2];[s2]pad=160:90:(ow-iw)/2:(oh-ih)/2[s3];"
        "[s3]format=yuv420p[s4]"
    )
    argv = tile_arguments(Path("/w/in.ts"), Path("/w/out.yuv"), layout(1000))
    expected = (
        f"{INPUT} -skip_frame nokey -threads 1 -i /w/in.ts -filter_complex {graph} -map [s4]"
        f" -f rawvideo -frames:v 1 /w/out.yuv {GLOBAL}"
    )
    assert " ".join(argv) == expected


def test_a_sheet_is_as_large_as_its_tiles() -> None:
    argv = sheet_arguments(Path("/w/in.yuv"), Path("/w/out.jpg"), layout(270_000), 1)
    expected = (
        "ffmpeg -f rawvideo -pix_fmt yuv420p -protocol_whitelist file -r 1 -s 160x90 -i /w/in.yuv"
        f" -filter_complex [0:v:0]tile=2x1[s0] -map [s0] {JPEG.format(quality=4)} {GLOBAL}"
    )
    assert " ".join(argv) == expected


@pytest.mark.parametrize(
    ("told", "brightness"),
    [(b"frame:0    pts:1\nlavfi.signalstats.YAVG=123.612\n", 123.612), (b"", 0), (b"lavfi.signalstats.YAVG=nan", 0)],
)
def test_brightness_is_read_or_dark(told: bytes, brightness: float) -> None:
    assert read_brightness(told) == brightness


def layout(duration_ms: int, aspect: float = 16 / 9) -> Layout:
    return lay_out(duration_ms, aspect, step_seconds=10, tiles_max=400)


@pytest.mark.parametrize(
    ("duration_ms", "step_ms", "tiles", "sheets"),
    [
        (1, 10_000, 1, 1),
        (10_000, 10_000, 1, 1),
        (10_001, 10_000, 2, 1),
        (250_000, 10_000, 25, 1),
        (250_001, 10_000, 26, 2),
        (4_000_000, 10_000, 400, 16),
        (4_000_001, 11_000, 364, 15),
        (10 * HOUR_MS, 90_000, 400, 16),
        (48 * HOUR_MS, 432_000, 400, 16),
    ],
)
def test_tiles_stay_within_their_bound(duration_ms: int, step_ms: int, tiles: int, sheets: int) -> None:
    found = layout(duration_ms)
    assert (found.step_ms, found.tiles, found.sheets) == (step_ms, tiles, sheets)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (16 / 9, (160, 90)),
        (4 / 3, (160, 120)),
        (1, (160, 160)),
        (9 / 16, (90, 160)),
        (32 / 9, (160, 44)),
        (1e4, (160, 2)),
    ],
)
def test_tiles_keep_the_aspect(aspect: float, size: tuple[int, int]) -> None:
    found = layout(1, aspect)
    assert (found.tile_width_px, found.tile_height_px) == size


def test_sheets_are_full_but_the_last() -> None:
    found = layout(580_000)
    assert [found.sheet_size(sheet) for sheet in range(found.sheets)] == [(5, 5), (5, 5), (5, 2)]
    assert layout(30_000).sheet_size(0) == (3, 1)


def test_the_storyboard_names_parts_of_its_sheets_beside_it() -> None:
    text = storyboard_vtt(layout(3_665_250), ["0-3.jpg"] * 14 + ["14-3.jpg"])
    cues = text.split("\n\n")
    assert cues[0] == "WEBVTT"
    assert cues[1] == "00:00:00.000 --> 00:00:10.000\n0-3.jpg#xywh=0,0,160,90"
    assert cues[7] == "00:01:00.000 --> 00:01:10.000\n0-3.jpg#xywh=160,90,160,90"
    assert cues[25] == "00:04:00.000 --> 00:04:10.000\n0-3.jpg#xywh=640,360,160,90"
    assert cues[367].rstrip() == "01:01:00.000 --> 01:01:05.250\n14-3.jpg#xywh=160,270,160,90"
    assert len(cues) == 1 + 367


def test_a_tile_shows_what_plays_at_its_time() -> None:
    # OBS with its default settings makes segments of 8.3 s; a lone segment of sound is short.
    taken = [one.sequence for one in tile_segments(segments(8300, 8300, 500, 8300, 8300), layout(33_700))]
    assert taken == [0, 1, 3, 4]
    assert [one.sequence for one in tile_segments(segments(10_000, 10_000), layout(20_000))] == [0, 1]
    # Without durations there is one line of time all the same.
    assert [one.sequence for one in tile_segments(segments(0, 0), layout(0))] == [1]


def test_a_poster_is_looked_for_all_over_the_recording() -> None:
    assert [one.sequence for one in poster_segments(segments(*[2000] * 101))] == [10, 30, 50, 70, 90, 0]
    assert [one.sequence for one in poster_segments(segments(2000))] == [0]
    assert [one.sequence for one in poster_segments(segments(2000, 2000))] == [0, 1]
