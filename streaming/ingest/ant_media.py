"""Reads what Ant Media asks (`webhookAuthenticateURL`, JSON) and tells (`listenerHookURL`, JSON or a form).

Exactly 200 allows a publisher. Events may be sent again and come in any order, so they carry their time; neither they
nor the question name a connection, so a session here is the stream's name.

Source: https://antmedia.io/docs (webhooks), and AcceptOnlyStreamsWithWebhook.java and AntMediaApplicationAdapter.java.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import parse_qsl

from pydantic import Field

from streaming.channels.keys import PREFIX
from streaming.errors import MalformedHook, UnknownApplication
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting
from streaming.ingest.hook_fields import HookFields, Name, Query, read_form, read_json
from streaming.ingest.stream_names import QUERY_FIELDS_MAX, only_key, read_claim

FORM: Final = "application/x-www-form-urlencoded"
MILLISECONDS_MAX: Final = 253_402_300_799_000  # the year 9999

_EVENTS: Final = {"liveStreamStarted": IngestEvent.ALIVE, "liveStreamEnded": IngestEvent.DONE}


class _Kind(HookFields):
    action: Annotated[str, Field(max_length=64)] | None = None


class _Publish(HookFields):
    appName: Name  # noqa: N815  as Ant Media spells it
    streamId: Name  # noqa: N815  as Ant Media spells it
    queryParams: Query | None = None  # noqa: N815  as Ant Media spells it


class _Told(HookFields):
    id: Name
    timestamp: Annotated[int, Field(ge=0, le=MILLISECONDS_MAX)]


def parse_hook(body: bytes, content_type: str, *, server: str, application: str) -> IngestCommand | Uninteresting:
    """The command in a question, or in an event (which has an `action`).

    Raises MalformedHook, UnknownApplication, NoStreamKey or WrongStreamName.
    """
    form = _pairs(body) if content_type == FORM else None
    action = (read_json(_Kind, body) if form is None else read_form(_Kind, form)).action
    if action is None and form is None:
        return _asked(read_json(_Publish, body), server, application)
    if action is None:
        raise MalformedHook("action: an event says what it is")
    if action not in _EVENTS:  # they come from version to version, and ask nothing
        return Uninteresting(action)
    told = read_json(_Told, body) if form is None else read_form(_Told, form)
    happened_at = datetime.fromtimestamp(told.timestamp / 1_000, UTC)
    session = Session(server, client_of(told.id))
    return IngestCommand(_EVENTS[action], session, key=None, happened_at=happened_at)


def client_of(name: str) -> str:
    """What stands for a stream of this name where a connection's id would: the name, or the digest of a key."""
    if not name.startswith(PREFIX):
        return name
    return f"sha256:{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _asked(hook: _Publish, server: str, application: str) -> IngestCommand:
    if hook.appName != application:
        raise UnknownApplication("nobody may publish to this application", call="publish")
    claim = read_claim(hook.streamId, only_key(_java_map(hook.queryParams or ""), field="queryParams"))
    session = Session(server, client_of(hook.streamId))
    return IngestCommand(IngestEvent.PUBLISH, session, key=claim.key, channel_id=claim.channel_id)


def _java_map(text: str) -> list[tuple[str, str]]:
    """The pairs in what Java's `Map.toString()` makes: `{a=b, c=d}`.

    A value with `, ` in it reads as two pairs, which is why a second key is refused rather than chosen from.
    """
    if not text or text == "null":
        return []
    if not (text.startswith("{") and text.endswith("}")):
        raise MalformedHook("queryParams: not {name=value, …}")
    parts = text[1:-1].split(", ") if text != "{}" else []
    if len(parts) > QUERY_FIELDS_MAX:
        raise MalformedHook(f"queryParams: more than {QUERY_FIELDS_MAX} fields")
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, errors="strict")
    except ValueError as error:  # also UnicodeDecodeError
        raise MalformedHook(f"the body: not a form of at most {QUERY_FIELDS_MAX} fields in UTF-8") from error
