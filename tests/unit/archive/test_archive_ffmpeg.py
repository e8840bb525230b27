"""Golden argument lists: a changed flag is a changed test, with its reason beside the flag."""

from pathlib import Path

from archive.ffmpeg import probe_arguments, rendition_arguments, sound_arguments
from archive.ladder import Rendition

SMALL = Rendition("480p", width_px=854, height_px=480, video_bits_per_second_max=1_400_000)
SMALLER = Rendition("360p", width_px=640, height_px=360, video_bits_per_second_max=800_000)

ENCODE = (
    "-f mpegts -bufsize {bufsize} -c:a copy -c:v libx264 -crf 23 -enc_time_base 1:90000 -flags +cgop"
    " -force_key_frames source -forced-idr 1 -fps_mode passthrough -g 600 -maxrate {maxrate} -muxdelay 0"
    " -muxpreload 0 -pix_fmt yuv420p -preset veryfast -sc_threshold 0 -threads 1 {path}"
)
GLOBAL = "-nostdin -hide_banner -loglevel error -progress pipe:1 -stats_period 0.5 -nostats -y"
ANALYSE = "-analyzeduration 120000000"
INPUT = f"ffmpeg -f mpegts {ANALYSE} -copyts -probesize 536870912 -protocol_whitelist file -threads 1 -i /w/in.ts"


def test_one_rendition() -> None:
    argv = rendition_arguments(Path("/w/in.ts"), [(SMALL, Path("/w/out.ts"))], threads=1)
    encode = ENCODE.format(bufsize=2_800_000, maxrate=1_400_000, path="/w/out.ts")
    graph = "[0:v:0]scale=854:480:flags=bicubic[s0];[s0]setsar=1[s1]"
    assert " ".join(argv) == f"{INPUT} -filter_complex {graph} -map [s1] -map 0:a:0? {encode} {GLOBAL}"


def test_two_renditions_share_one_decode() -> None:
    argv = rendition_arguments(Path("/w/in.ts"), [(SMALL, Path("/w/a.ts")), (SMALLER, Path("/w/b.ts"))], threads=1)
    assert argv.count("-i") == 1
    assert argv[argv.index("-filter_complex") + 1].startswith("[0:v:0]split=2")
    assert ENCODE.format(bufsize=1_600_000, maxrate=800_000, path="/w/b.ts") in " ".join(argv)


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
    encode = "-map 0:a:0 -f mpegts -c:a copy -muxdelay 0 -muxpreload 0 -streamid 0:257 /w/out.ts"
    assert " ".join(argv) == f"{INPUT} {encode} {GLOBAL}"
