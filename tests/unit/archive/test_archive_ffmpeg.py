"""Golden argument lists: a changed flag is a changed test, with its reason beside the flag."""

from pathlib import Path

import pytest

from archive.ladder.ladder import SOUND_ALONE, Rendition
from archive.media.encoders import ENCODER_NAMES, PRESET_DEFAULTS, PRESETS, Encoder, EncoderName
from archive.media.ffmpeg import probe_arguments, rendition_arguments, sound_arguments

LARGE = Rendition("720p", width_px=1280, height_px=720, video_bits_per_second_max=3_500_000)
SMALL = Rendition("480p", width_px=854, height_px=480, video_bits_per_second_max=1_400_000)
SMALLER = Rendition("360p", width_px=640, height_px=360, video_bits_per_second_max=800_000)

ENCODE = (
    "-f mpegts -bufsize {bufsize} -c:a copy -c:v libx264 -crf 23 -enc_time_base 1:90000 -flags +cgop"
    " -force_key_frames source -forced-idr 1 -fps_mode passthrough -g 600 -maxrate {maxrate} -muxdelay 0"
    " -muxpreload 0 -pix_fmt yuv420p -preset veryfast -sc_threshold 0 -threads 1 {path}"
)
SOUND = "-f mpegts -c:a copy -muxdelay 0 -muxpreload 0 -streamid 0:257 {path}"
GLOBAL = "-nostdin -hide_banner -loglevel error -progress pipe:1 -stats_period 0.5 -nostats -y"
ANALYSE = "-analyzeduration 120000000"
PIXELS = "-max_pixels 37748736"
INPUT = (
    f"ffmpeg -f mpegts {ANALYSE} -copyts {PIXELS} -probesize 536870912 -protocol_whitelist file -threads 1 -i /w/in.ts"
)
ONE_SCALED = "-filter_complex [0:v:0]scale=854:480:flags=bicubic[s0];[s0]setsar=1[s1]"


def test_one_rendition() -> None:
    argv = rendition_arguments(Path("/w/in.ts"), [(SMALL, Path("/w/out.ts"))], threads=1)
    encode = ENCODE.format(bufsize=2_800_000, maxrate=1_400_000, path="/w/out.ts")
    outputs = f"-map [s1] -map 0:a:0? {encode}"
    assert " ".join(argv) == f"{INPUT} {ONE_SCALED} {outputs} -filter_complex_threads 1 {GLOBAL}"


def test_a_ladder_shares_one_decode_and_each_picture_is_made_from_the_next_larger_one() -> None:
    ladder = [
        (LARGE, Path("/w/a.ts")),
        (SMALL, Path("/w/b.ts")),
        (SMALLER, Path("/w/c.ts")),
        (SOUND_ALONE, Path("/w/s.ts")),
    ]
    argv = rendition_arguments(Path("/w/in.ts"), ladder, threads=1)
    graph = (
        "[0:v:0]scale=1280:720:flags=bicubic[s0];[s0]setsar=1[s1];[s1]split=2[s2][s3];"
        "[s3]scale=854:480:flags=bicubic[s4];[s4]setsar=1[s5];[s5]split=2[s6][s7];"
        "[s7]scale=640:360:flags=bicubic[s8];[s8]setsar=1[s9]"
    )
    outputs = (
        f"-map [s2] -map 0:a:0? {ENCODE.format(bufsize=7_000_000, maxrate=3_500_000, path='/w/a.ts')}"
        f" -map [s6] -map 0:a:0? {ENCODE.format(bufsize=2_800_000, maxrate=1_400_000, path='/w/b.ts')}"
        f" -map [s9] -map 0:a:0? {ENCODE.format(bufsize=1_600_000, maxrate=800_000, path='/w/c.ts')}"
        f" -map 0:a:0 {SOUND.format(path='/w/s.ts')}"
    )
    assert " ".join(argv) == f"{INPUT} -filter_complex {graph} {outputs} -filter_complex_threads 1 {GLOBAL}"


def test_a_source_without_smaller_pictures_gives_its_sound_without_decoding() -> None:
    argv = rendition_arguments(Path("/w/in.ts"), [(SOUND_ALONE, Path("/w/s.ts"))], threads=1)
    output = f"-map 0:a:0 {SOUND.format(path='/w/s.ts')}"
    assert " ".join(argv) == f"{INPUT} {output} -filter_complex_threads 1 {GLOBAL}"


NV12 = "-filter_complex [0:v:0]scale=854:480:flags=bicubic[s0];[s0]setsar=1[s1];[s1]format=pix_fmts=nv12[s2]"
HARDWARE: dict[EncoderName, tuple[str, str, str]] = {
    "nvenc": (
        f"{ONE_SCALED} -map [s1]",
        "-b:v 0 -bufsize 2800000 -c:a copy -c:v h264_nvenc -cq 23 -enc_time_base 1:90000 -flags +cgop"
        " -force_key_frames source -forced-idr 1 -fps_mode passthrough -g 600 -maxrate 1400000 -muxdelay 0"
        " -muxpreload 0 -no-scenecut 1 -pix_fmt yuv420p -preset p4 -rc vbr",
        "",
    ),
    "qsv": (
        f"{NV12};[s2]hwupload=extra_hw_frames=64[s3] -map [s3]",
        "-adaptive_i 0 -b:v 1050000 -bufsize 2800000 -c:a copy -c:v h264_qsv -enc_time_base 1:90000 -flags +cgop"
        " -force_key_frames source -forced_idr 1 -fps_mode passthrough -g 600 -maxrate 1400000 -muxdelay 0"
        " -muxpreload 0 -preset medium",
        "-init_hw_device qsv=hw,child_device=/dev/dri/renderD129 -filter_hw_device hw ",
    ),
    "vaapi": (
        f"{NV12};[s2]hwupload[s3] -map [s3]",
        "-b:v 1050000 -bufsize 2800000 -c:a copy -c:v h264_vaapi -enc_time_base 1:90000 -flags +cgop"
        " -force_key_frames source -fps_mode passthrough -g 600 -idr_interval 0 -maxrate 1400000 -muxdelay 0"
        " -muxpreload 0 -rc_mode VBR",
        "-vaapi_device /dev/dri/renderD129 ",
    ),
    "v4l2m2m": (
        f"{ONE_SCALED} -map [s1]",
        "-b:v 1050000 -bufsize 2800000 -c:a copy -c:v h264_v4l2m2m -enc_time_base 1:90000 -flags +cgop"
        " -force_key_frames source -fps_mode passthrough -g 600 -maxrate 1400000 -muxdelay 0 -muxpreload 0"
        " -pix_fmt yuv420p",
        "",
    ),
}


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_encoders(name: EncoderName) -> None:
    encoder = Encoder(name, device="/dev/dri/renderD129")
    argv = rendition_arguments(Path("/w/in.ts"), [(SMALL, Path("/w/out.ts"))], threads=1, encoder=encoder)
    pictures, options, opened = HARDWARE[name]
    output = f"{pictures} -map 0:a:0? -f mpegts {options} /w/out.ts"
    assert " ".join(argv) == f"{INPUT} {output} -filter_complex_threads 1 {opened}{GLOBAL}"


def test_every_encoder_has_a_golden_list_and_a_preset_of_its_own() -> None:
    assert {*HARDWARE, "x264"} == set(ENCODER_NAMES) == set(PRESETS)
    assert all(PRESET_DEFAULTS.get(name) in (presets or (None,)) for name, presets in PRESETS.items())


def test_preset_quality_and_threads_are_passed_on() -> None:
    encoder = Encoder("x264", preset="slow", quality=20)
    argv = rendition_arguments(Path("/w/in.ts"), [(SMALL, Path("/w/out.ts"))], threads=3, encoder=encoder)
    assert (argv[argv.index("-preset") + 1], argv[argv.index("-crf") + 1]) == ("slow", "20")
    # Decoder, encoder and filters.
    assert [argv[at + 1] for at, flag in enumerate(argv) if flag.endswith("threads")] == ["3", "3", "3"]


def test_probing_forces_the_format_and_reads_files_only() -> None:
    argv = probe_arguments(Path("/w/in.ts"))
    assert argv[:7] == ["ffprobe", "-v", "error", "-protocol_whitelist", "file", "-f", "mpegts"]
    assert argv[-3:] == ["-of", "json", "/w/in.ts"]


def test_a_name_with_odd_characters_stays_one_argument() -> None:
    odd = Path("/w/a b;$(touch x)'\"[0:v].ts")
    argv = rendition_arguments(odd, [(SMALL, odd)], threads=1)
    assert argv.count(str(odd)) == 2


def test_sound_without_a_picture_is_copied() -> None:
    argv = sound_arguments(Path("/w/in.ts"), Path("/w/out.ts"))
    assert " ".join(argv) == f"{INPUT} -map 0:a:0 {SOUND.format(path='/w/out.ts')} {GLOBAL}"
