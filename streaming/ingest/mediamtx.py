"""Reads what MediaMTX asks (`authHTTPAddress`, JSON) and what our commands in its configuration tell (a query).

A question is answered by the status alone: 2xx allows, everything else refuses. A connection keeps its id from the
question to the end, and the API kicks by the same id.

Source: https://mediamtx.org/docs/usage/authentication and …/hooks; internal/auth of version 1.19.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field

from streaming.errors import ActionForbidden, MalformedHook, NoStreamKey, StreamKeyNeeded, UnknownApplication
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting
from streaming.ingest.hook_fields import Client, HookFields, Name, Query, read_form, read_json
from streaming.ingest.stream_names import key_in_query, only_key, read_claim

_WATCHING: Final = frozenset({"read", "playback"})
_EVENTS: Final = {"available": IngestEvent.ALIVE, "unavailable": IngestEvent.DONE}
_OTHER_EVENTS: Final = frozenset({"segment"})


class _Action(HookFields):
    action: Annotated[str, Field(max_length=64)]


class _Publish(_Action):
    path: Name
    id: Client
    password: Query = ""
    token: Query = ""
    query: Query = ""


class _Event(HookFields):
    event: Annotated[str, Field(max_length=64)]


class _Told(_Event):
    event: Literal["available", "unavailable"]
    source_id: Client


def parse_hook(
    body: bytes, query: Iterable[tuple[str, str]], *, server: str, application: str, watched: bool
) -> IngestCommand | Uninteresting:
    """The command in a question (a body), or in what we are told (a query that has an `event`).

    Raises StreamKeyNeeded for a publisher without any key, who will be asked for it, MalformedHook, ActionForbidden for
    viewers where none are `watched`, and for the server's own API, metrics and whatever else is not for streamers,
    UnknownApplication or WrongStreamName.
    """
    pairs = list(query)
    if any(name == "event" for name, _ in pairs):
        return _told(pairs, server)
    action = read_json(_Action, body).action
    if action in _WATCHING and watched:
        return Uninteresting(action)
    if action != "publish":
        raise ActionForbidden("action: only publishing is allowed here, and watching where it has a playback_url")
    hook = read_json(_Publish, body)
    folder, _, name = hook.path.rpartition("/")
    if folder != application:
        raise UnknownApplication("nobody may publish to this path", call=action)
    try:
        claim = read_claim(name, _key(hook))
    except NoStreamKey as error:
        raise StreamKeyNeeded(error.detail) from error
    return IngestCommand(IngestEvent.PUBLISH, Session(server, hook.id), key=claim.key, channel_id=claim.channel_id)


def _key(hook: _Publish) -> str | None:
    """In the query, or where encoders have a field for a password or a token (RTSP, SRT, WebRTC)."""
    in_query = key_in_query(hook.query, field="query")
    if in_query is not None:
        return in_query
    for field, value in (("password", hook.password), ("token", hook.token)):
        if value:
            return only_key([("key", value)], field=field)
    return None


def _told(pairs: list[tuple[str, str]], server: str) -> IngestCommand | Uninteresting:
    event = read_form(_Event, pairs).event
    if event in _OTHER_EVENTS:
        return Uninteresting(event)
    if event not in _EVENTS:
        raise MalformedHook("event: not one of available, unavailable, segment")
    told = read_form(_Told, pairs)
    return IngestCommand(_EVENTS[told.event], Session(server, told.source_id), key=None)
