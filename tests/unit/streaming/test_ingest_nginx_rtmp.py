"""nginx-rtmp's hooks: every captured request is understood, and nothing that a publisher adds is."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import ForgedHook, HookRefused, MalformedHook, UnknownApplication
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting
from streaming.ingest.nginx_rtmp import BODY_BYTES_MAX, KEY_CHARACTERS_MAX, RESERVED, parse_hook
from tests.unit.streaming.captured import captured_bodies

PREFIX = "app=live&flashver=FMLE/3.0&swfurl=&tcurl=rtmp://127.0.0.1/live&pageurl=&addr=127.0.0.1&clientid=7"
PUBLISH = f"{PREFIX}&call=publish&name=sk_abc&type=live"
ALIVE = f"{PREFIX}&call=update_publish&time=12&timestamp=11690&name=sk_abc"
DONE = f"{PREFIX}&call=publish_done&name=sk_abc"


def parse(body: str | bytes) -> IngestCommand | Uninteresting:
    raw = body if isinstance(body, bytes) else body.encode()
    return parse_hook(raw, server="10.0.0.1", application="live")


def command(event: IngestEvent, client: str, key: str, seconds: int = 0) -> IngestCommand:
    return IngestCommand(event, Session("10.0.0.1", client), key, seconds)


PUBLISHED, STILL, GONE = IngestEvent.PUBLISH, IngestEvent.ALIVE, IngestEvent.DONE

CAPTURED_MEANINGS: list[IngestCommand | Uninteresting | type[HookRefused]] = [
    Uninteresting("connect"),
    command(PUBLISHED, "1", "goodkey"),
    command(STILL, "1", "goodkey", 2),
    command(STILL, "1", "goodkey", 4),
    command(GONE, "1", "goodkey"),
    Uninteresting("done"),
    Uninteresting("record_done"),
    Uninteresting("disconnect"),
    Uninteresting("connect"),
    command(PUBLISHED, "10", "badkey"),
    Uninteresting("disconnect"),
    Uninteresting("connect"),
    command(PUBLISHED, "14", "sk_secret"),
    command(STILL, "14", "sk_secret", 2),
    command(GONE, "14", "sk_secret"),
    Uninteresting("done"),
    Uninteresting("record_done"),
    Uninteresting("disconnect"),
    Uninteresting("connect"),
    command(PUBLISHED, "22", "kickme"),
    command(STILL, "22", "kickme", 2),
    Uninteresting("disconnect"),
    command(GONE, "22", "kickme"),
    Uninteresting("record_done"),
    Uninteresting("done"),
    Uninteresting("connect"),
    ForgedHook,
    ForgedHook,
    ForgedHook,
    ForgedHook,
    ForgedHook,
    Uninteresting("disconnect"),
]


def test_there_are_32_captured_requests() -> None:
    assert len(captured_bodies()) == len(CAPTURED_MEANINGS) == 32


@pytest.mark.parametrize(("body", "meaning"), list(zip(captured_bodies(), CAPTURED_MEANINGS, strict=True)))
def test_captured_request(body: bytes, meaning: IngestCommand | Uninteresting | type[HookRefused]) -> None:
    if isinstance(meaning, type):
        with pytest.raises(meaning):
            parse(body)
    else:
        assert parse(body) == meaning


@pytest.mark.parametrize("hook", [PUBLISH, ALIVE, DONE])
@pytest.mark.parametrize("field", sorted(RESERVED))
@pytest.mark.parametrize("spelling", ["plain", "encoded", "upper", "padded", "first of several", "without value"])
def test_a_publishers_field_that_poses_as_nginx_rtmps_is_refused(hook: str, field: str, spelling: str) -> None:
    appended = {
        "plain": f"{field}=victim",
        "encoded": f"%{ord(field[0]):02x}{field[1:]}=victim",
        "upper": f"{field.upper()}=victim",
        "padded": f"%20{field}%20=victim",
        "first of several": f"{field}=victim&token=x",
        "without value": field,
    }[spelling]
    with pytest.raises(ForgedHook):
        parse(f"{hook}&{appended}")
    with pytest.raises(ForgedHook):
        parse(f"{hook}&token=abc&x=1&{appended}")


@given(
    before=st.lists(st.sampled_from(["token=abc", "x", "=", "", "name%3D=1", "a=b=c"]), max_size=4),
    field=st.sampled_from(sorted(RESERVED)),
    value=st.text(max_size=20),
    after=st.lists(st.sampled_from(["token=abc", "y=2", ""]), max_size=4),
)
def test_wherever_it_stands_in_the_query(before: list[str], field: str, value: str, after: list[str]) -> None:
    query = "&".join([*before, f"{field}={quote(value)}", *after])
    with pytest.raises(ForgedHook):
        parse(f"{PUBLISH}&{query}")


def test_a_publishers_own_fields_change_nothing() -> None:
    assert parse(f"{PUBLISH}&token=abc&x=1&time=99999&type=record&clientids=3") == command(PUBLISHED, "7", "sk_abc")
    assert parse(f"{ALIVE}&time=99999") == command(STILL, "7", "sk_abc", 12)


def test_a_field_before_its_place_is_no_hook() -> None:
    with pytest.raises(MalformedHook):
        parse(f"call=publish&name=sk_abc&{PUBLISH}")
    with pytest.raises(MalformedHook):
        parse(PUBLISH.replace("&addr=127.0.0.1&clientid=7", "&clientid=7&addr=127.0.0.1"))
    with pytest.raises(MalformedHook):
        parse(PUBLISH.replace("&tcurl", "&name=victim&tcurl"))


def test_escaped_values_are_read_as_they_were_meant() -> None:
    assert parse(PUBLISH.replace("sk_abc", "sk%5fa%26name%3db")) == command(PUBLISHED, "7", "sk_a&name=b")


@pytest.mark.parametrize("application", ["hls", "", "LIVE", "live/x"])
def test_only_the_public_application_takes_publishers(application: str) -> None:
    with pytest.raises(UnknownApplication):
        parse(PUBLISH.replace("app=live&", f"app={application}&"))


def test_the_internal_relays_signs_of_life_are_not_a_publishers() -> None:
    relay = PREFIX.replace("app=live", "app=") + "&call=update_play&time=5&timestamp=4000&name=d41d8cd98f00b204"
    assert parse(relay) == Uninteresting("update_play")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&",
        b"=",
        b"call=",
        b"call=publish",
        b"\xff\xfe",
        b"\x00" * 100,
        b"{}",
        PUBLISH.replace("call=publish", "call=destroy").encode(),
        PUBLISH.replace("clientid=7", "clientid=").encode(),
        PUBLISH.replace("clientid=7", "clientid=-7").encode(),
        PUBLISH.replace("clientid=7", "clientid=%D9%A7").encode(),  # an Arabic digit
        PUBLISH.replace("clientid=7", "clientid=" + "7" * 21).encode(),
        PUBLISH.replace("name=sk_abc", "name=").encode(),
        PUBLISH.replace("name=sk_abc", "name=" + "k" * (KEY_CHARACTERS_MAX + 1)).encode(),
        PUBLISH.replace("name=sk_abc", "name=%ff%fe").encode(),
        ALIVE.replace("time=12", "time=soon").encode(),
        ALIVE.replace("time=12", "time=-1").encode(),
        ALIVE.replace("time=12", "time=" + "9" * 11).encode(),
        PUBLISH.encode() + b"&x=" + b"y" * BODY_BYTES_MAX,
    ],
)
def test_what_nginx_rtmp_would_not_write_is_no_hook(body: bytes) -> None:
    with pytest.raises(MalformedHook):
        parse(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for candidate in (body, PUBLISH.encode() + b"&" + body, body + PUBLISH.encode()):
        with contextlib.suppress(MalformedHook, HookRefused):
            assert isinstance(parse(candidate), IngestCommand | Uninteresting)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="&"), max_size=60))
def test_no_query_of_one_field_changes_who_publishes(query: str) -> None:
    try:
        read = parse(f"{PUBLISH}&{query}")
    except (MalformedHook, HookRefused):
        return
    assert read == command(PUBLISHED, "7", "sk_abc")


def test_the_key_is_not_in_a_commands_text() -> None:
    assert "sk_abc" not in repr(parse(PUBLISH))
