"""Hooks of SRS, MediaMTX and Ant Media: understood as the server writes them, whatever a publisher adds."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import (
    ActionForbidden,
    HookRefused,
    MalformedHook,
    NoStreamKey,
    StreamKeyNeeded,
    UnknownApplication,
    WrongStreamName,
)
from streaming.ingest import ant_media, mediamtx, srs
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting

CHANNEL = UUID("01920000-0000-7000-8000-00000000c4a1")
KEY = "sk_" + "a" * 43
SERVER = "ingest-1"
UPPER = str(CHANNEL).upper()

Understood = IngestCommand | Uninteresting


def of_srs(hook: object, *, watched: bool = True) -> Understood:
    body = hook if isinstance(hook, bytes) else json.dumps(hook).encode()
    return srs.parse_hook(body, server=SERVER, application="live", watched=watched)


def of_mediamtx(
    hook: object, query: dict[str, str] | list[tuple[str, str]] | None = None, *, watched: bool = True
) -> Understood:
    body = hook if isinstance(hook, bytes) else json.dumps(hook).encode()
    pairs = list(query.items()) if isinstance(query, dict) else query or []
    return mediamtx.parse_hook(body, pairs, server=SERVER, application="live", watched=watched)


def of_ant_media(hook: object, content_type: str = "application/json") -> Understood:
    body = hook if isinstance(hook, bytes) else json.dumps(hook).encode()
    return ant_media.parse_hook(body, content_type, server=SERVER, application="live")


def publish(client: str, *, key: str = KEY, channel_id: UUID | None = CHANNEL) -> IngestCommand:
    return IngestCommand(IngestEvent.PUBLISH, Session(SERVER, client), key, channel_id=channel_id)


def heard(event: IngestEvent, client: str, at: datetime | None = None) -> IngestCommand:
    return IngestCommand(event, Session(SERVER, client), None, happened_at=at)


SRS: dict[str, Any] = {
    "server_id": "vid-0xk989d",
    "service_id": "382a6e8v",
    "action": "on_publish",
    "client_id": "9308h583",
    "ip": "192.168.1.10",
    "vhost": "__defaultVhost__",
    "app": "live",
    "tcUrl": "rtmp://x/live?key=abc",
    "stream": str(CHANNEL),
    "param": f"?key={KEY}",
    "stream_url": f"/live/{CHANNEL}",
    "stream_id": "vid-124q9y3",
}
MEDIAMTX: dict[str, Any] = {
    "ip": "127.0.0.1",
    "user": "",
    "password": "",
    "token": "",
    "action": "publish",
    "path": f"live/{CHANNEL}",
    "protocol": "rtmp",
    "id": "0c6cc9ff-38a2-4a3b-a9a7-1a4d5a9e4d5a",
    "query": f"key={KEY}",
    "userAgent": "",
}
ANT: dict[str, Any] = {
    "appName": "live",
    "name": str(CHANNEL),
    "streamId": str(CHANNEL),
    "mode": "live",
    "queryParams": f"{{key={KEY}}}",
    "metaData": "",
}
TOLD: dict[str, Any] = {
    "id": str(CHANNEL),
    "action": "liveStreamEnded",
    "streamName": "x",
    "category": None,
    "app": "live",
    "metadata": {"a": 1},
    "timestamp": "1700000000250",
}
TOLD_AT = datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
AVAILABLE = {"event": "available", "path": f"live/{CHANNEL}", "query": "", "source_id": MEDIAMTX["id"]}


def changed(hook: dict[str, Any], **change: object) -> dict[str, Any]:
    return {name: value for name, value in (hook | change).items() if value is not ...}


@pytest.mark.parametrize(
    ("hook", "meaning"),
    [
        (SRS, publish("9308h583")),
        (changed(SRS, param=f"?vhost=a&key={KEY}&x=%20"), publish("9308h583")),
        (changed(SRS, param=f"key={KEY}"), publish("9308h583")),
        # as SRS 6 writes it where the server's address has a query: `rtmp://HOST/live?key=…`, `rtmp://HOST/live?a=b`
        (changed(SRS, param=f"?key={KEY}?key={KEY}"), publish("9308h583")),
        (changed(SRS, param=f"?key={KEY}?a=b?a=b"), publish("9308h583")),
        # as SRS 3 wrote it
        (changed(SRS, client_id=1985, server_id=..., stream_id=..., stream_url=...), publish("1985")),
        (changed(SRS, stream=KEY, param=""), publish("9308h583", channel_id=None)),
        (changed(SRS, stream=KEY, param=...), publish("9308h583", channel_id=None)),
        (changed(SRS, action="on_unpublish"), heard(IngestEvent.DONE, "9308h583")),
        (changed(SRS, action="on_unpublish", client_id=7), heard(IngestEvent.DONE, "7")),
        ({"action": "on_close", "client_id": "9308h583"}, heard(IngestEvent.DONE, "9308h583")),
        (changed(SRS, action="on_hls", duration=9.36, file="a.ts"), Uninteresting("on_hls")),
        (changed(SRS, action="on_connect", stream=...), Uninteresting("on_connect")),
        ({"action": "on_play"}, Uninteresting("on_play")),
        ({"action": "on_stop"}, Uninteresting("on_stop")),
        ({"action": "on_dvr"}, Uninteresting("on_dvr")),
    ],
)
def test_what_srs_means(hook: dict[str, Any], meaning: Understood) -> None:
    assert of_srs(hook) == meaning


@pytest.mark.parametrize(
    ("hook", "query", "meaning"),
    [
        (MEDIAMTX, {}, publish(MEDIAMTX["id"])),
        (changed(MEDIAMTX, query="", user="ada", password=KEY), {}, publish(MEDIAMTX["id"])),
        (changed(MEDIAMTX, query="", token=KEY), {}, publish(MEDIAMTX["id"])),
        (changed(MEDIAMTX, password="another"), {}, publish(MEDIAMTX["id"])),  # the query says it
        (changed(MEDIAMTX, protocol="carrier-pigeon"), {}, publish(MEDIAMTX["id"])),
        (changed(MEDIAMTX, query="", path=f"live/{KEY}"), {}, publish(MEDIAMTX["id"], channel_id=None)),
        (changed(MEDIAMTX, action="read", id=None), {}, Uninteresting("read")),
        (changed(MEDIAMTX, action="playback", id=None, path=""), {}, Uninteresting("playback")),
        (b"", AVAILABLE, heard(IngestEvent.ALIVE, MEDIAMTX["id"])),
        (b"", AVAILABLE | {"event": "unavailable"}, heard(IngestEvent.DONE, MEDIAMTX["id"])),
        (b"", {"event": "segment", "path": "live/x", "file": "/a.ts"}, Uninteresting("segment")),
    ],
)
def test_what_mediamtx_means(hook: object, query: dict[str, str], meaning: Understood) -> None:
    assert of_mediamtx(hook, query) == meaning


@pytest.mark.parametrize(
    ("hook", "meaning"),
    [
        (ANT, publish(str(CHANNEL))),
        (changed(ANT, queryParams=f"{{a=b, key={KEY}, c=}}"), publish(str(CHANNEL))),
        (changed(ANT, metaData=..., mode=...), publish(str(CHANNEL))),
        (TOLD, heard(IngestEvent.DONE, str(CHANNEL), TOLD_AT)),
        (changed(TOLD, timestamp=1700000000250), heard(IngestEvent.DONE, str(CHANNEL), TOLD_AT)),
        (changed(TOLD, action="liveStreamStarted"), heard(IngestEvent.ALIVE, str(CHANNEL), TOLD_AT)),
        (changed(TOLD, action="vodReady", vodName="x.mp4"), Uninteresting("vodReady")),
        (changed(TOLD, action="somethingNew", timestamp=...), Uninteresting("somethingNew")),
    ],
)
def test_what_ant_media_means(hook: dict[str, Any], meaning: Understood) -> None:
    assert of_ant_media(hook) == meaning
    if "action" in hook and "timestamp" in hook:
        form = urlencode({name: str(value) for name, value in hook.items() if value is not None})
        assert of_ant_media(form.encode(), ant_media.FORM) == meaning


def test_where_ant_medias_name_is_a_key_the_session_does_not_tell_it() -> None:
    for hook in (changed(ANT, streamId=KEY, queryParams=None), changed(ANT, streamId=KEY, queryParams="{}")):
        command = of_ant_media(hook)
        assert isinstance(command, IngestCommand)
        assert (command.key, command.channel_id) == (KEY, None)
        assert KEY not in repr(command)
        ended = of_ant_media(changed(TOLD, id=KEY))
        assert isinstance(ended, IngestCommand)
        assert ended.session == command.session == Session(SERVER, ant_media.client_of(KEY))


Case = tuple[Callable[..., Understood], tuple[object, ...], type[Exception], str]

REFUSED: list[Case] = [
    # who shows no key, or names another channel
    (of_srs, (changed(SRS, param=""),), NoStreamKey, "neither"),
    (of_srs, (changed(SRS, stream="mystream"),), WrongStreamName, "channel's id"),
    (of_srs, (changed(SRS, stream=UPPER),), WrongStreamName, "channel's id"),
    (of_srs, (changed(SRS, stream=f"{{{CHANNEL}}}"),), WrongStreamName, "channel's id"),
    (of_srs, (changed(SRS, stream=CHANNEL.hex),), WrongStreamName, "channel's id"),
    (of_srs, (changed(SRS, stream=KEY),), WrongStreamName, "channel's id"),
    (of_srs, (changed(SRS, param=f"?key={KEY}&key=sk_other"),), MalformedHook, "param: the key stands there twice"),
    (of_srs, (changed(SRS, param=f"?key={KEY}?key=sk_other"),), MalformedHook, "param: the key stands there twice"),
    (of_srs, (changed(SRS, param="?key="),), MalformedHook, "param: the key must have"),
    (of_srs, (changed(SRS, param="?" + "&".join(["a=b"] * 51)),), MalformedHook, "param: more than 50"),
    (of_srs, (changed(SRS, app="other"),), UnknownApplication, "application"),
    (of_srs, (changed(SRS, app="live/other"),), UnknownApplication, "application"),
    (of_mediamtx, (changed(MEDIAMTX, query=""),), StreamKeyNeeded, "neither"),
    (of_mediamtx, (changed(MEDIAMTX, path="live/x"),), WrongStreamName, "channel's id"),
    (of_mediamtx, (changed(MEDIAMTX, path=str(CHANNEL)),), UnknownApplication, "path"),
    (of_mediamtx, (changed(MEDIAMTX, path=f"live/x/{CHANNEL}"),), UnknownApplication, "path"),
    (of_mediamtx, (changed(MEDIAMTX, query="key=a&key=b"),), MalformedHook, "query: the key stands there twice"),
    (of_ant_media, (changed(ANT, queryParams=None),), NoStreamKey, "neither"),
    (of_ant_media, (changed(ANT, appName="WebRTCApp"),), UnknownApplication, "application"),
    (of_ant_media, (changed(ANT, queryParams="{x=a, key=b, key=c}"),), MalformedHook, "queryParams: the key stands"),
    (of_ant_media, (changed(ANT, queryParams="key=b"),), MalformedHook, "queryParams"),
    # what is not asked of us
    *[
        (of_mediamtx, (changed(MEDIAMTX, action=act),), ActionForbidden, "action")
        for act in ("api", "metrics", "pprof", "x")
    ],
    # who would watch past the edge
    (partial(of_srs, watched=False), ({"action": "on_play"},), ActionForbidden, "playback_url"),
    (partial(of_mediamtx, watched=False), (changed(MEDIAMTX, action="read"),), ActionForbidden, "playback_url"),
    # fields that are wrong
    (of_srs, (changed(SRS, action="on_conquer"),), MalformedHook, "action"),
    (of_srs, (changed(SRS, action=...),), MalformedHook, "action"),
    (of_srs, (changed(SRS, action=["on_publish"]),), MalformedHook, "action"),
    (of_srs, (changed(SRS, client_id=...),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, client_id=""),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, client_id=True),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, client_id=-1),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, client_id="x" * 129),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, client_id="a\x00b"),), MalformedHook, "client_id"),
    (of_srs, (changed(SRS, stream=""),), MalformedHook, "stream"),
    (of_srs, (changed(SRS, stream=None),), MalformedHook, "stream"),
    (of_srs, (changed(SRS, stream="x" * 257),), MalformedHook, "stream"),
    (of_srs, (changed(SRS, param={"key": KEY}),), MalformedHook, "param"),
    (of_srs, (changed(SRS, param="x" * 9_000),), MalformedHook, "param"),
    (of_mediamtx, (changed(MEDIAMTX, id=None),), MalformedHook, "id"),
    (of_mediamtx, (changed(MEDIAMTX, path=...),), MalformedHook, "path"),
    (of_mediamtx, (changed(MEDIAMTX, password=7),), MalformedHook, "password"),
    (of_mediamtx, (b"", {"event": "conquered"}), MalformedHook, "event"),
    (of_mediamtx, (b"", changed(AVAILABLE, source_id="")), MalformedHook, "source_id"),
    (of_mediamtx, (b"", [*AVAILABLE.items(), ("source_id", "x")]), MalformedHook, "'source_id' stands twice"),
    (of_mediamtx, (b"", [("event", "segment"), ("event", "available")]), MalformedHook, "'event' stands twice"),
    (of_ant_media, (changed(ANT, streamId=...),), MalformedHook, "streamId"),
    (of_ant_media, (changed(TOLD, timestamp="soon"),), MalformedHook, "timestamp"),
    (of_ant_media, (changed(TOLD, timestamp=10**18),), MalformedHook, "timestamp"),
    (of_ant_media, (changed(TOLD, timestamp=...),), MalformedHook, "timestamp"),
    (of_ant_media, (changed(TOLD, id=7),), MalformedHook, "id"),
    (
        of_ant_media,
        (b"action=liveStreamEnded&id=a&id=b&timestamp=1", ant_media.FORM),
        MalformedHook,
        "'id' stands twice",
    ),
    (of_ant_media, (b"id=a&timestamp=1", ant_media.FORM), MalformedHook, "action"),
    (of_ant_media, (b"\xff", ant_media.FORM), MalformedHook, "body"),
    (of_ant_media, (b"&".join([b"a=b"] * 51), ant_media.FORM), MalformedHook, "body"),
    *[
        (of, (body,), MalformedHook, "body")
        for of in (of_srs, of_mediamtx, of_ant_media)
        for body in (
            b"",
            b"0",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"{" * 10_000,
            b'{"action":"on_publish"',
            b'{"action":"\\ud800"}',
        )
    ],
]


@pytest.mark.parametrize(("understand", "arguments", "error", "says"), REFUSED)
def test_what_is_refused_is_named(
    understand: Callable[..., Understood], arguments: tuple[object, ...], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as refused:
        understand(*arguments)
    assert type(refused.value) is error
    assert says in str(refused.value)
    assert KEY not in str(refused.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(sorted({*SRS, *MEDIAMTX, *ANT, *TOLD, *AVAILABLE}))
ACTIONS = st.sampled_from(
    ["on_publish", "on_unpublish", "publish", "read", "liveStreamEnded", "liveStreamStarted", "available", "segment"]
)


@given(
    base=st.sampled_from([SRS, MEDIAMTX, ANT, TOLD]),
    change=st.dictionaries(FIELDS, ANYTHING | ACTIONS, max_size=4),
    raw=st.none() | st.binary(max_size=80),
    query=st.lists(st.tuples(FIELDS | st.text(max_size=5), ACTIONS | st.text(max_size=20)), max_size=4),
    content_type=st.sampled_from(["application/json", ant_media.FORM]),
)
def test_nothing_that_arrives_crashes(
    base: dict[str, Any],
    change: dict[str, object],
    raw: bytes | None,
    query: list[tuple[str, str]],
    content_type: str,
) -> None:
    body = json.dumps(base | change).encode() if raw is None else raw
    ways: list[Callable[[], Understood]] = [
        partial(of_srs, body),
        partial(of_mediamtx, body, query),
        partial(of_ant_media, body, content_type),
    ]
    for understand in ways:
        with contextlib.suppress(HookRefused, MalformedHook, StreamKeyNeeded):
            command = understand()
            if isinstance(command, IngestCommand):
                # what reaches the database and the log can be written there
                assert "\x00" not in command.session.client
                assert (command.key is not None) == (command.event is IngestEvent.PUBLISH)
