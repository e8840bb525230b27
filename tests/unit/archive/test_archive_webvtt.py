"""WebVTT: what is taken, what is refused and where, and the times that players are told."""

from __future__ import annotations

import pytest

from archive.errors import CaptionsRefused
from archive.library.captions_api import language_tag
from archive.library.webvtt import CUES_MAX, LINE_CHARACTERS_MAX, read_captions

CUE = "00:01.000 --> 00:04.500"


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        (f"WEBVTT\n\n{CUE}\nHello\n", 1),
        (f"\ufeffWEBVTT - some title\n\n{CUE}\nHello", 1),
        (f"WEBVTT\r\nKind: captions\r\nLanguage: en\r\n\r\n1\r\n{CUE} line:0 align:start\r\nTwo\r\nlines\r\n", 1),
        (f"WEBVTT\rX: y\r\r{CUE}\rOld Mac\r", 1),
        (f"WEBVTT\n\nNOTE\nfor us\n\nSTYLE\n::cue {{ color: red }}\n\nREGION\nid:r\n\n{CUE}\n<v Ada>Hi</v>\n", 1),
        ("WEBVTT\n\n99:59:58.000 --> 99:59:59.000\nlate\n\n\n\n100:00:00.000\t-->\t100:00:01.000\nlater", 2),
        (f"WEBVTT\n\n{CUE}\n", 1),
        (f"WEBVTT\n\n{CUE}\n<script>alert(1)</script> & <b>\u202eodd\u202c</b> 👩‍👩‍👧", 1),
    ],
)
def test_what_players_agree_on_is_taken(text: str, cues: int) -> None:
    assert read_captions(text.encode()).cues == cues


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "WEBVTT"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nHi", 1, "WEBVTT"),
        (b"WEBVTTX\n\n00:01.000 --> 00:02.000\nHi", 1, "WEBVTT"),
        (b"webvtt\n\n00:01.000 --> 00:02.000\nHi", 1, "WEBVTT"),
        (b"WEBVTT\n\n", 3, "no cue"),
        (b"WEBVTT\n\nNOTE nothing", 3, "no cue"),
        (b"WEBVTT\n00:01.000 --> 00:02.000\nHi", 2, "blank line"),
        (b"WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nHi", 3, "a point, not a comma"),
        (b"WEBVTT\n\n00:01.000 -> 00:02.000\nHi", 3, "neither a cue"),
        (b"WEBVTT\n\n00:02.000 --> 00:01.000\nHi", 3, "ends before"),
        (b"WEBVTT\n\n00:01.000 --> 00:01.000\nHi", 3, "ends before"),
        (b"WEBVTT\n\n00:61.000 --> 01:62.000\nHi", 3, "not a timing"),
        (b"WEBVTT\n\n1:00:01.000 --> 1:00:02.000\nHi", 3, "not a timing"),
        (b"WEBVTT\n\n00:01.00 --> 00:02.000\nHi", 3, "not a timing"),
        (b"WEBVTT\n\n00:01.000-->00:02.000\nHi", 3, "not a timing"),
        ("WEBVTT\n\n٠٠:٠١.٠٠٠ --> 00:02.000\nHi".encode(), 3, "not a timing"),
        (b"WEBVTT\n\na\nb\n00:01.000 --> 00:02.000\nHi", 5, "first line, or the second"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n00:03.000 --> 00:04.000\nHo", 5, "between two cues"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nnul\x00", 4, "control character"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\nescape\x1b[0m", 4, "control character"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\n\xff\xfe", 4, "UTF-8"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHi".encode("utf-16"), 1, "UTF-8"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"x" * (LINE_CHARACTERS_MAX + 1), 4, str(LINE_CHARACTERS_MAX)),
        (b"WEBVTT\n" + b"\n00:01.000 --> 00:02.000\nx\n" * (CUES_MAX + 1), 3 * CUES_MAX + 3, str(CUES_MAX)),
    ],
)
def test_a_refusal_names_the_line_and_the_reason(content: bytes, line: int, reason: str) -> None:
    with pytest.raises(CaptionsRefused) as refused:
        read_captions(content)
    assert (refused.value.line, reason in refused.value.reason) == (line, True), refused.value


def test_times_count_from_the_streams_first_timestamp() -> None:
    captions = read_captions(f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00:09.000\nKind: x\n\n{CUE}\nHi\n\n".encode())
    assert captions.text(10_000) == (
        f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\nKind: x\n\n{CUE}\nHi\n"
    )
    # Timestamps have 33 bits: about 26.5 hours.
    assert "MPEGTS:0," in captions.text(0)
    assert f"MPEGTS:{100_000_000 * 90 - (1 << 33)}," in captions.text(100_000_000)
    assert read_captions(captions.text(10_000).encode()) == captions


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("en", "en"),
        ("EN-us", "en-US"),
        ("zh-hANT-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-1996", "de-1996"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("zh-yue", "zh-yue"),
    ],
)
def test_languages_are_bcp_47_tags_in_one_case(text: str, tag: str) -> None:
    assert language_tag(text) == tag


@pytest.mark.parametrize(
    "text",
    ["", "e", "english", "en_US", "en-", "-en", "en--US", "x-klingon", "en-u-ca-gregory", "ен", "en\n", "../en", "e1"],
)
def test_what_is_no_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="BCP 47"):
        language_tag(text)
