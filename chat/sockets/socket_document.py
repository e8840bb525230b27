"""The chat socket as an AsyncAPI 3 document, from its frames.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import inspect
from typing import get_args

from pydantic import JsonValue
from pydantic.json_schema import models_json_schema

from chat.sockets import frames

ASYNCAPI_VERSION = "3.0.0"
SCHEMAS = "#/components/schemas/{model}"


def socket_document() -> dict[str, JsonValue]:
    """What a client may send and what it must expect, frame by frame."""
    models = (*frames.CLIENT_FRAMES, *frames.SERVER_FRAMES)
    _, shared = models_json_schema([(model, "validation") for model in models], ref_template=SCHEMAS)
    channel: JsonValue = {"$ref": "#/channels/chat"}
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "LiveStream chat socket",
            "version": str(frames.VERSION),
            "description": "One JSON object in one WebSocket text frame. What it all means: docs/chat-protocol.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "chat": {
                "address": "/chat",
                "messages": {_name(model): {"$ref": f"#/components/messages/{_name(model)}"} for model in models},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            # As the gateway sees it: it receives what clients send.
            "takeFrames": {"action": "receive", "channel": channel, "messages": _of(frames.CLIENT_FRAMES)},
            "tellClients": {"action": "send", "channel": channel, "messages": _of(frames.SERVER_FRAMES)},
        },
        "components": {
            "messages": {_name(model): _message(model) for model in models},
            "schemas": shared["$defs"],
        },
    }


def _of(models: tuple[type[frames.Frame], ...]) -> list[JsonValue]:
    return [{"$ref": f"#/channels/chat/messages/{_name(model)}"} for model in models]


def _message(model: type[frames.Frame]) -> JsonValue:
    about = inspect.getdoc(model) or ""
    return {
        "name": _name(model),
        "summary": about.partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _name(model: type[frames.Frame]) -> str:
    annotation: object = model.model_fields["type"].annotation
    (name,) = get_args(annotation)
    return str(name)
