"""Reads the form that nginx-rtmp posts to its hooks, and refuses what nginx-rtmp would never have written.

nginx-rtmp writes a fixed run of fields and then, unescaped, whatever query the publisher put behind its stream key. A
publisher can thereby append a second ``name``, ``call`` or ``addr``. So the leading run must be exactly the one that
the call has, and behind it the fields that mean something may not stand at all, however they are spelled.

Source: ngx_rtmp_notify_module.c and ngx_rtmp_netcall_module.c of nginx-rtmp 1.2.2, and captured requests.
"""

from typing import Final
from urllib.parse import unquote

from streaming.errors import ForgedHook, MalformedHook, UnknownApplication
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
BODY_BYTES_MAX: Final = 16_384
KEY_CHARACTERS_MAX: Final = 256  # NGX_RTMP_MAX_NAME
CLIENT_DIGITS_MAX: Final = 20  # an unsigned 64-bit number
SECONDS_DIGITS_MAX: Final = 10

# Fields that decide something, or name somebody: behind the leading run they can only come from the publisher.
RESERVED: Final = frozenset({"call", "name", "app", "addr", "clientid", "path"})

_CONNECTION = ("app", "flashver", "swfurl", "tcurl", "pageurl", "addr")
_SESSION = (*_CONNECTION, "clientid", "call")
_FIELDS_OF_CALL: Final[dict[str, tuple[str, ...]]] = {
    "connect": (*_CONNECTION, "epoch", "call"),
    "publish": (*_SESSION, "name", "type"),
    "play": (*_SESSION, "name", "start", "duration", "reset"),
    "update_publish": (*_SESSION, "time", "timestamp", "name"),
    "update_play": (*_SESSION, "time", "timestamp", "name"),
    "publish_done": (*_SESSION, "name"),
    "play_done": (*_SESSION, "name"),
    "done": (*_SESSION, "name"),
    "record_done": (*_SESSION, "recorder", "name", "path"),
    "disconnect": (*_SESSION, "app"),
}
# `done` follows both publish_done and play_done, in no fixed order; publish_done says the same with more.
_EVENT_OF_CALL: Final = {
    "publish": IngestEvent.PUBLISH,
    "update_publish": IngestEvent.ALIVE,
    "publish_done": IngestEvent.DONE,
}


def parse_hook(body: bytes, *, server: str, application: str) -> IngestCommand | Uninteresting:
    """The command in one hook's body; `server` names the media server, `application` the one that may be published to.

    Raises MalformedHook, ForgedHook (a publisher's own fields pose as nginx-rtmp's) or UnknownApplication.
    """
    fields = _fields(body)
    call = _call(fields)
    run = _leading_run(fields, _FIELDS_OF_CALL[call])
    event = _EVENT_OF_CALL.get(call)
    if event is None:
        return Uninteresting(call)
    if run["app"] != application:
        raise UnknownApplication("nobody may publish to this application", call=call)
    return IngestCommand(
        event=event,
        session=Session(server, _digits(run["clientid"], "clientid", CLIENT_DIGITS_MAX)),
        key=_key(run["name"]),
        publishing_seconds=int(_digits(run.get("time", "0"), "time", SECONDS_DIGITS_MAX)),
    )


def _fields(body: bytes) -> list[tuple[str, str]]:
    if not body:
        raise MalformedHook("the hook has no body")
    if len(body) > BODY_BYTES_MAX:
        raise MalformedHook(f"the hook's body is longer than {BODY_BYTES_MAX} bytes")
    try:
        text = body.decode("utf-8")
        pairs = [part.partition("=") for part in text.split("&")]
        return [(unquote(name, errors="strict"), unquote(value, errors="strict")) for name, _, value in pairs]
    except UnicodeDecodeError as error:
        raise MalformedHook("the hook's body is not UTF-8 text") from error


def _call(fields: list[tuple[str, str]]) -> str:
    """The call that nginx-rtmp wrote: the first, for the publisher's own fields come last."""
    call = next((value for name, value in fields if name == "call"), None)
    if call is None:
        raise MalformedHook("the hook does not say which call it is")
    if call not in _FIELDS_OF_CALL:
        raise MalformedHook("the hook's call is not one of nginx-rtmp's")
    return call


def _leading_run(fields: list[tuple[str, str]], expected: tuple[str, ...]) -> dict[str, str]:
    """The fields that nginx-rtmp itself wrote, by name; the first of a name wins (`disconnect` has `app` twice)."""
    names = tuple(name for name, _ in fields[: len(expected)])
    if names != expected:
        raise MalformedHook("the hook's fields are not the ones of its call, in their order")
    for name, _ in fields[len(expected) :]:
        if name.strip().lower() in RESERVED:
            raise ForgedHook(f"the publisher's own query may not have a field {name.strip().lower()!r}")
    run: dict[str, str] = {}
    for name, value in fields[: len(expected)]:
        run.setdefault(name, value)
    return run


def _digits(value: str, field: str, digits_max: int) -> str:
    if not (value.isascii() and value.isdigit() and len(value) <= digits_max):
        raise MalformedHook(f"the hook's {field} is not a number")
    return value


def _key(name: str) -> str:
    if not 0 < len(name) <= KEY_CHARACTERS_MAX:
        raise MalformedHook(f"the hook's name must have 1 to {KEY_CHARACTERS_MAX} characters")
    return name
