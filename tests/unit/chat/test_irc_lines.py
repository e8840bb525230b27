"""Lines of IRC: what is read from clients, and that nothing can get a second line in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.irc.capabilities import COMMANDS, MEMBERSHIP, MESSAGE_TAGS, TAGS, changed, normal
from chat.irc.lines import LINE_BYTES_MAX, TAGS_BYTES_MAX, BadLine, Line, escaped, line, read_line


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("PING", Line("PING")),
        ("ping :a b", Line("PING", ("a b",))),
        ("PRIVMSG #ann :", Line("PRIVMSG", ("#ann", ""))),
        ("PRIVMSG  #ann   ::)", Line("PRIVMSG", ("#ann", ":)"))),
        (":bob!b@c PRIVMSG #ann hi", Line("PRIVMSG", ("#ann", "hi"))),
        ("CAP REQ :twitch.tv/tags x", Line("CAP", ("REQ", "twitch.tv/tags x"))),
        ("@a=1;b;c=\\s\\:\\\\\\n :x PING", Line("PING", (), {"a": "1", "b": "", "c": " ;\\\n"})),
        ("USER a 0 * :b c", Line("USER", ("a", "0", "*", "b c"))),
        ("", None),
        ("   ", None),
        ("A " + " ".join("b" * 20), Line("A", ("b",) * 14 + (" ".join("b" * 6),))),
    ],
)
def test_lines_are_read_as_the_rfc_writes_them(raw: str, expected: Line | None) -> None:
    assert read_line(raw.encode()) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b":only.a.prefix",
        b"@tags=only",
        b"1234 x",
        b"PRIVMSG #ann :" + b"x" * LINE_BYTES_MAX,
        b"@a=" + b"x" * TAGS_BYTES_MAX + b" PING",
        b"x" * 10_000,
    ],
)
def test_what_is_no_line_is_refused(raw: bytes) -> None:
    with pytest.raises(BadLine):
        read_line(raw)


def test_five_hundred_characters_of_any_kind_fit() -> None:
    received = read_line(b"@reply-parent-msg-id=" + b"x" * 36 + b" PRIVMSG #" + b"n" * 30 + b" :" + "😀".encode() * 500)
    assert received is not None
    assert received.params[1] == "😀" * 500


@given(st.binary(max_size=600))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    try:
        received = read_line(raw)
    except BadLine:
        return
    if received is not None:
        assert len(received.params) <= 15
        assert all("\n" not in param and "\r" not in param and "\0" not in param for param in received.params)


@given(
    st.lists(st.text(max_size=40), max_size=4),
    st.none() | st.text(max_size=80),
    st.lists(st.tuples(st.text("abc-", min_size=1, max_size=8), st.text(max_size=40)), max_size=4),
    st.none() | st.text(max_size=20),
)
def test_whatever_is_written_is_one_line_with_these_parts(
    params: list[str], text: str | None, tags: list[tuple[str, str]], prefix: str | None
) -> None:
    written = line("PRIVMSG", *params, text=text, prefix=prefix, tags=tags)
    assert written.endswith(b"\r\n")
    body = written[:-2]
    assert b"\r" not in body and b"\n" not in body and b"\0" not in body
    received = read_line(body)
    assert received is not None
    assert received.command == "PRIVMSG"
    assert len(received.params) == len(params) + (text is not None)
    assert dict(received.tags).keys() == {name for name, _ in tags}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_tag_comes_back_as_it_went(value: str) -> None:
    received = read_line(f"@a={escaped(value)} PING".encode())
    assert received is not None
    assert received.tags["a"] == value


def test_capabilities_are_all_or_none() -> None:
    assert changed(frozenset(), [TAGS, COMMANDS]) == frozenset([TAGS, COMMANDS])
    assert changed(frozenset([TAGS]), [f"-{TAGS}", MEMBERSHIP]) == frozenset([MEMBERSHIP])
    assert changed(frozenset([TAGS]), [COMMANDS, "echo-message"]) is None
    assert normal(frozenset([MESSAGE_TAGS, MEMBERSHIP])) == {TAGS}
