"""The argument lists for clips, flag by flag, and what is read of a segment."""

import json
from pathlib import Path

import pytest

from archive.clips.arguments import Bounds, Picture, cut_arguments, look_arguments, parted_arguments
from archive.clips.cutting import Segment, read_look
from archive.errors import MediaRefused

SOURCE, TARGET = Path("in.ts"), Path("out.ts")


def test_a_segment_is_cut_at_ticks_its_picture_encoded_and_its_sound_copied() -> None:
    argv = cut_arguments(
        SOURCE,
        TARGET,
        picture=Picture("yuv422p10le", "high422", 4_000_000),
        pictures=Bounds(903_000, 960_000),
        sound=Bounds(902_040.0, 959_040.0),
        threads=2,
    )
    golden = (
        "ffmpeg -f mpegts -analyzeduration 120000000 -copyts -max_pixels 37748736 -probesize 536870912 "
        "-protocol_whitelist file -threads 2 -i in.ts "
        "-filter_complex [0:v:0]trim=end_pts=960000:start_pts=903000[s0] -map [s0] -map 0:a:0? -f mpegts "
        "-bf 0 -bsf:a noise=drop=lt(pts*tb\\,10.022661)+gte(pts*tb\\,10.655994) -bufsize 8000000 -c:a copy "
        "-c:v libx264 -crf 18 -enc_time_base 1:90000 -flags +cgop -force_key_frames source -forced-idr 1 "
        "-fps_mode passthrough -g 600 -maxrate 4000000 -muxdelay 0 -muxpreload 0 -pix_fmt yuv422p10le "
        "-preset veryfast -profile:v high422 -sc_threshold 0 -threads 2 out.ts "
        "-filter_complex_threads 2 -nostdin -hide_banner -loglevel error -progress pipe:1 -stats_period 0.5 -nostats -y"
    )
    assert " ".join(argv) == golden


def test_an_edge_that_is_not_cut_bounds_nothing() -> None:
    argv = " ".join(
        cut_arguments(
            SOURCE,
            TARGET,
            picture=Picture("yuv420p", None, 1_000_000),
            pictures=Bounds(None, 960_000),
            sound=Bounds(None, 959_040.0),
            threads=1,
        )
    )
    assert "trim=end_pts=960000[" in argv
    assert "drop=gte(pts*tb\\,10.655994) " in argv
    assert "profile" not in argv


def test_sound_alone_is_copied_under_its_usual_packet_id() -> None:
    argv = cut_arguments(
        SOURCE, TARGET, picture=None, pictures=Bounds(1, None), sound=Bounds(902_040.0, None), threads=1
    )
    assert " ".join(argv) == (
        "ffmpeg -f mpegts -analyzeduration 120000000 -copyts -max_pixels 37748736 -probesize 536870912 "
        "-protocol_whitelist file -threads 1 -i in.ts "
        "-map 0:a:0 -f mpegts -bsf:a noise=drop=lt(pts*tb\\,10.022661) -c:a copy -muxdelay 0 -muxpreload 0 "
        "-streamid 0:257 out.ts "
        "-filter_complex_threads 1 -nostdin -hide_banner -loglevel error -progress pipe:1 -stats_period 0.5 -nostats -y"
    )


def test_a_segment_beside_a_cut_is_copied_without_what_is_outside() -> None:
    argv = parted_arguments(SOURCE, TARGET, pictures=Bounds(None, 960_000), sound=Bounds(902_040.0, 959_040.0))
    assert " ".join(argv) == (
        "ffmpeg -f mpegts -analyzeduration 120000000 -copyts -max_pixels 37748736 -probesize 536870912 "
        "-protocol_whitelist file -threads 1 -i in.ts -map 0:v:0? -map 0:a:0? -f mpegts "
        "-bsf:a noise=drop=lt(pts*tb\\,10.022661)+gte(pts*tb\\,10.655994) -bsf:v noise=drop=gte(pts*tb\\,10.666661) "
        "-c:a copy -c:v copy -muxdelay 0 -muxpreload 0 out.ts "
        "-nostdin -hide_banner -loglevel error -progress pipe:1 -stats_period 0.5 -nostats -y"
    )


def test_looking_forces_the_format_and_opens_files_only() -> None:
    assert " ".join(look_arguments(SOURCE)) == (
        "ffprobe -v error -protocol_whitelist file -f mpegts -analyzeduration 120000000 -probesize 536870912 "
        "-show_entries stream=index,codec_type,codec_name,profile,pix_fmt,width,height:packet=stream_index,pts "
        "-of json=compact=1 in.ts"
    )


VIDEO = {"index": 0, "codec_type": "video", "codec_name": "h264", "profile": "High", "pix_fmt": "yuv420p"} | {
    "width": 1280,
    "height": 720,
}
AUDIO = {"index": 1, "codec_type": "audio", "codec_name": "aac"}
PACKETS = [{"stream_index": 1, "pts": 89_000}, {"stream_index": 0, "pts": 93_000}, {"stream_index": 0, "pts": 90_000}]


def told(*streams: dict[str, object], packets: list[dict[str, int]] = PACKETS) -> bytes:
    return json.dumps({"streams": streams, "packets": packets}).encode()


def test_a_segment_begins_with_its_earliest_picture() -> None:
    segment = read_look(told(VIDEO, AUDIO))
    assert segment == Segment([93_000, 90_000], [89_000], "yuv420p", "high")
    assert segment.origin == 90_000


def test_sound_that_is_alone_for_long_begins_a_segment() -> None:
    assert Segment([90_000], [40_000]).origin == 40_000
    assert read_look(told(AUDIO)).origin == 89_000


def test_a_pixel_format_that_few_play_becomes_one_that_all_do() -> None:
    segment = read_look(told(VIDEO | {"pix_fmt": "gbrp", "profile": "High 4:4:4 Predictive"}))
    assert (segment.pixel_format, segment.profile) == ("yuv420p", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "neither picture nor sound"),
        (told(packets=[]), "neither picture nor sound"),
        (told(VIDEO | {"width": 0}, packets=[]), "neither picture nor sound"),
        (told(VIDEO | {"codec_name": "hevc"}), "H.264 alone, not of hevc"),
        (told(VIDEO | {"width": 30_000, "height": 20_000}), "pixels"),
    ],
)
def test_what_cannot_be_cut_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(MediaRefused, match=reason):
        read_look(text)
