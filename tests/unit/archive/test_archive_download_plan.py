"""What a download is made of, and the argument lists that make it."""

from pathlib import Path
from uuid import UUID

import pytest

from archive.downloads.arguments import download_arguments, download_probe_arguments
from archive.downloads.plan import RUNS_MAX, Run, concat_list, runs_of
from archive.errors import PlaylistUnreadable
from archive.media.playlist import PlaylistEntry, vod_playlist

STREAM = UUID("01922222-2222-7222-8222-222222222222")


def test_nothing_is_encoded_and_nothing_but_transport_streams_is_opened() -> None:
    source = "ffmpeg -f concat -format_whitelist concat,mpegts -protocol_whitelist file -safe 0 -i /w/runs.ffconcat"
    target = "-f mp4 -c copy -movflags +faststart /w/out.mp4 -nostdin -hide_banner -loglevel error -nostats -y"
    argv = download_arguments(Path("/w/runs.ffconcat"), Path("/w/out.mp4"), has_picture=True)
    assert " ".join(argv) == f"{source} -map 0:v:0 -map 0:a:0? {target}"
    argv = download_arguments(Path("/w/runs.ffconcat"), Path("/w/out.mp4"), has_picture=False)
    assert " ".join(argv) == f"{source} -map 0:a:0 {target}"


def test_the_result_is_looked_at_as_what_it_must_be() -> None:
    assert " ".join(download_probe_arguments(Path("/w/out.mp4"))) == (
        "ffprobe -v error -protocol_whitelist file -f mp4 -show_entries format=duration"
        " -of default=noprint_wrappers=1:nokey=1 /w/out.mp4"
    )


def test_runs_end_where_the_playlist_breaks_off() -> None:
    text = vod_playlist(
        [
            PlaylistEntry("0-1.ts", 6006, discontinuity=True),
            PlaylistEntry("1-4.ts", 1994, discontinuity=False),
            PlaylistEntry("../source/4.ts", 2000, discontinuity=True),
            PlaylistEntry("3-1.ts", 500, discontinuity=True),
        ]
    )
    runs = runs_of(text, STREAM, "480p")
    assert runs == [
        Run((f"{STREAM}/480p/0-1.ts", f"{STREAM}/480p/1-4.ts"), 8000),
        Run((f"{STREAM}/source/4.ts",), 2000),
        Run((f"{STREAM}/480p/3-1.ts",), 500),
    ]
    assert concat_list(runs[:2]).splitlines() == [
        "ffconcat version 1.0",
        *("file run-0.ts", "option probesize 67108864", "option analyzeduration 120000000", "duration 8.000"),
        *("file run-1.ts", "option probesize 67108864", "option analyzeduration 120000000", "duration 2.000"),
    ]


def test_an_empty_recording_has_no_runs() -> None:
    assert runs_of(vod_playlist([]), STREAM, "source") == []


HEAD = "#EXTM3U\n#EXTINF:2.000,\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        f"{HEAD}http://127.0.0.1/x.ts\n",
        f"{HEAD}file:///etc/passwd\n",
        f"{HEAD}../../01933333-3333-7333-8333-333333333333/source/0.ts\n",
        f"{HEAD}../../../../etc/passwd\n",
        f"{HEAD}..\n",
        f"{HEAD}0.ts'\\nfile x\n",
        f"{HEAD}0 .ts\n",
        "#EXTM3U\n0.ts\n",
        "#EXTM3U\n#EXTINF:two,\n0.ts\n",
        "#EXTM3U\n" + "#EXT-X-DISCONTINUITY\n#EXTINF:2,\n0.ts\n" * (RUNS_MAX + 1),
    ],
)
def test_what_is_no_playlist_of_this_recording_is_refused(text: str) -> None:
    with pytest.raises(PlaylistUnreadable):
        runs_of(text, STREAM, "source")
