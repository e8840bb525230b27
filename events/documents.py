"""The contract as documents: JSON Schemas, an AsyncAPI 3 document, golden examples, a page for people.

All are generated from the models and topics, committed, and compared in a test, so that a change of the contract is a
change that a reviewer sees. Examples are only ever added: each one ever written must decode for ever.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema

from events.envelope import Event
from events.topics import TOPICS, Topic

ASYNCAPI_VERSION = "3.0.0"


class _PlainSchema(GenerateJsonSchema):
    """pydantic's schema without the titles that only repeat the field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 -- pydantic's signature
        return False


def schema_of(model: type[Event]) -> dict[str, JsonValue]:
    """JSON Schema (2020-12) of an event's data, as a reader must take it: further fields allowed."""
    schema = model.model_json_schema(mode="serialization", schema_generator=_PlainSchema)
    schema.pop("additionalProperties", None)  # closed when built, open when read
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def asyncapi_document() -> dict[str, JsonValue]:
    """The AsyncAPI 3 document of all topics (https://www.asyncapi.com/docs/reference/specification/v3.0.0)."""
    spoken = [topic for topic in TOPICS if topic.events]
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "LiveStream events",
            "version": "1",
            "description": "CloudEvents 1.0 in Kafka's binary content mode: attributes in headers, JSON data as value.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in spoken},
        "operations": {name: operation for topic in spoken for name, operation in _operations(topic).items()},
        "components": {
            "messages": {model.type: _message(model) for topic in spoken for model in topic.events},
            "messageTraits": {"cloudevent": {"headers": _headers_schema()}},
        },
    }


def events_page() -> str:
    """``docs/events.md``: every topic and event, for people."""
    lines = [
        "# Events",
        "",
        "Generated from `events/` by `make generate`. Attributes travel as CloudEvents 1.0 headers (`ce_id`,",
        "`ce_type`, `ce_source`, `ce_time`, `ce_subject`, `ce_specversion`) beside `traceparent`; the value is JSON.",
        "Consumers deduplicate by `ce_id`.",
        "",
        "| topic | key | partitions | retention | producer | consumers |",
        "|---|---|---|---|---|---|",
    ]
    for topic in TOPICS:
        cells = (topic.name, topic.key, topic.partitions, f"{topic.retention.days} days", topic.producer)
        lines.append(f"| {' | '.join(map(str, cells))} | {', '.join(topic.consumers)} |")
    for topic in TOPICS:
        for model in topic.events:
            lines += ["", f"## {model.type}", "", f"On `{topic.name}`. {_prose(model)}", "", *_fields_table(model)]
    return "\n".join(lines) + "\n"


def to_json(document: Mapping[str, JsonValue]) -> str:
    """The one form in which generated documents are written."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _channel(topic: Topic) -> JsonValue:
    return {
        "address": topic.name,
        "description": f"In order by {topic.key}.",
        "messages": {model.type: {"$ref": f"#/components/messages/{model.type}"} for model in topic.events},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {"retention.ms": int(topic.retention.total_seconds() * 1000)},
            }
        },
    }


def _operations(topic: Topic) -> dict[str, JsonValue]:
    channel: JsonValue = {"$ref": f"#/channels/{topic.name}"}
    name = topic.name.removesuffix(".v1")
    says: dict[str, JsonValue] = {f"{topic.producer}-says-{name}": {"action": "send", "channel": channel}}
    hears: dict[str, JsonValue] = {
        f"{consumer}-hears-{name}": {"action": "receive", "channel": channel} for consumer in topic.consumers
    }
    return says | hears


def _message(model: type[Event]) -> JsonValue:
    return {
        "name": model.type,
        "summary": _prose(model),
        "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": schema_of(model),
        },
    }


def _headers_schema() -> JsonValue:
    text: JsonValue = {"type": "string"}
    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {"type": "string", "format": "uuid"},
            "ce_type": text,
            "ce_source": text,
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_subject": text,
            "traceparent": text,
        },
    }


def _prose(model: type[Event]) -> str:
    return " ".join((model.__doc__ or "").split())


def _fields_table(model: type[Event]) -> list[str]:
    rows = ["| field | type |", "|---|---|"]
    properties = schema_of(model)["properties"]
    assert isinstance(properties, dict)  # noqa: S101 -- for the type checker: pydantic always writes an object
    for name, schema in properties.items():
        rows.append(f"| `{name}` | {_type_words(schema)} |")
    return rows


def _type_words(schema: JsonValue) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "anyOf" in schema and isinstance(schema["anyOf"], list):
        return " or ".join(_type_words(option) for option in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    return str(schema.get("format", schema.get("type", "any")))
