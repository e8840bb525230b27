"""What ffprobe says, made into facts; and what is refused."""

import json
from collections.abc import Mapping

import pytest

from archive.errors import MediaRefused
from archive.media.probe import read_probe

VIDEO = {
    "codec_type": "video",
    "codec_name": "h264",
    "profile": "High",
    "level": 31,
    "width": 1280,
    "height": 720,
    "sample_aspect_ratio": "1:1",
    "r_frame_rate": "30/1",
    "avg_frame_rate": "30000/1001",
    "start_time": "1.423222",
    "duration": "2.000000",
}
AUDIO = {"codec_type": "audio", "codec_name": "aac", "profile": "LC", "start_time": "1.4", "duration": "2.02"}
TIMING = {"start_time": "1.400000", "duration": "2.037000"}


def told(*streams: Mapping[str, object]) -> bytes:
    return json.dumps({"streams": streams, "format": TIMING}).encode()


def test_picture_and_sound() -> None:
    facts = read_probe(told(VIDEO, AUDIO))
    assert (facts.width_px, facts.height_px, facts.start_ms, facts.duration_ms) == (1280, 720, 1423, 2000)
    assert facts.codecs == "avc1.64001f,mp4a.40.2"
    assert facts.frame_rate == pytest.approx(29.97, abs=0.001)


def test_sound_alone_is_timed_by_the_file() -> None:
    facts = read_probe(told(AUDIO))
    assert (facts.has_video, facts.width_px, facts.duration_ms, facts.codecs) == (False, 0, 2037, "mp4a.40.2")


def test_a_picture_that_is_declared_and_not_there_is_none() -> None:
    facts = read_probe(told(VIDEO | {"width": 0, "height": 0}, AUDIO))
    assert (facts.has_video, facts.has_audio, facts.codecs) == (False, True, "mp4a.40.2")


@pytest.mark.parametrize("change", [{"codec_name": "hevc"}, {"profile": "Odd"}, {"level": -99}])
def test_codecs_that_are_not_known_for_sure_are_not_named(change: dict[str, object]) -> None:
    assert read_probe(told(VIDEO | change, AUDIO)).codecs is None


def test_pixels_need_not_be_square() -> None:
    assert read_probe(told(VIDEO | {"sample_aspect_ratio": "64:45"})).pixel_aspect == pytest.approx(64 / 45)
    assert read_probe(told(VIDEO | {"sample_aspect_ratio": "0:1"})).pixel_aspect == 1.0


@pytest.mark.parametrize(
    "streams", [[], [VIDEO | {"width": 0}], [VIDEO | {"width": 60_000, "height": 60_000}], [{"codec_type": "data"}]]
)
def test_what_cannot_be_a_recording_is_refused(streams: list[dict[str, object]]) -> None:
    with pytest.raises(MediaRefused):
        read_probe(told(*streams))


def test_a_size_that_the_decoder_refused_is_named() -> None:
    complaints = (
        "[h264] [IMGUTILS] Picture size 15360x15360 exceeds specified max pixel count 37748736 | [h264] no frame!"
    )
    with pytest.raises(MediaRefused, match="the picture is 15360x15360, more than 37748736 pixels"):
        read_probe(told(VIDEO | {"width": 0, "height": 0}, AUDIO), complaints)
    # A picture that turned giant later is the encoder's matter: what is there can be played.
    assert read_probe(told(VIDEO, AUDIO), complaints).width_px == 1280


def test_what_does_not_last_is_nothing() -> None:
    text = json.dumps({"streams": [AUDIO], "format": {"start_time": "1.423222", "duration": "0.000011"}})
    with pytest.raises(MediaRefused, match="ends before its first picture or sound"):
        read_probe(text.encode())
