"""Reads what SRS posts to its HTTP callbacks.

SRS takes status 200 with `code` 0 for yes; any other status, code or body refuses where it asks (`on_connect`,
`on_publish`, `on_play`) and is ignored where it tells. Clients have a random id, or a number in old versions.

Source: https://ossrs.io/lts/en-us/docs/v6/doc/http-callback, srs_app_http_hooks.cpp of SRS 5 and 6, and what 5.0.213
and 6.0.157 were seen to send.
"""

from typing import Annotated, Final

from pydantic import Field

from streaming.errors import ActionForbidden, MalformedHook, UnknownApplication
from streaming.ingest.commands import IngestCommand, IngestEvent, Session, Uninteresting
from streaming.ingest.hook_fields import Client, HookFields, Name, Query, read_json
from streaming.ingest.stream_names import key_in_query, read_claim

# Told of connections and files, or of viewers who have left.
_OTHER_ACTIONS: Final = frozenset({"on_connect", "on_stop", "on_dvr", "on_hls", "on_hls_notify"})
_GONE: Final = frozenset({"on_unpublish", "on_close"})


class _Action(HookFields):
    action: Annotated[str, Field(max_length=64)]


class _Client(_Action):
    client_id: Client | Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class _Publish(_Client):
    app: Name
    stream: Name
    param: Query = ""


def parse_hook(body: bytes, *, server: str, application: str, watched: bool) -> IngestCommand | Uninteresting:
    """The command in one hook's body.

    Raises MalformedHook (also for an action that nobody knows: it may be a question), ActionForbidden for viewers where
    none are `watched`, UnknownApplication, NoStreamKey or WrongStreamName.
    """
    action = read_json(_Action, body).action
    if action in _OTHER_ACTIONS or (action == "on_play" and watched):
        return Uninteresting(action)
    if action == "on_play":
        raise ActionForbidden("nobody watches here: the server has no playback_url")
    if action in _GONE:
        gone = read_json(_Client, body)
        return IngestCommand(IngestEvent.DONE, Session(server, str(gone.client_id)), key=None)
    if action != "on_publish":
        raise MalformedHook("action: not one of SRS's")
    hook = read_json(_Publish, body)
    if hook.app != application:
        raise UnknownApplication("nobody may publish to this application", call=action)
    claim = read_claim(hook.stream, key_in_query(_query(hook.param), field="param"))
    return IngestCommand(
        IngestEvent.PUBLISH, Session(server, str(hook.client_id)), key=claim.key, channel_id=claim.channel_id
    )


def _query(param: str) -> str:
    """The publisher's query. SRS puts the query of the server's address behind it, twice, with a `?` before each."""
    return "&".join(dict.fromkeys(filter(None, param.split("?"))))
