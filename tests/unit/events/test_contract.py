"""Guarantees of the event contract: what was ever said can be read for ever; what is committed is what is generated."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from pydantic import ValidationError

from events import StreamStarted, UndecodableEvent, UnknownEventType, decode, encode, topic_of
from events.documents import asyncapi_document, events_page, schema_of, to_json
from events.envelope import Envelope, Event
from events.topics import EVENT_MODELS, TOPICS

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "events" / "examples").glob("*.json"))

STARTED = StreamStarted(
    stream_id=UUID("01930000-0000-7000-8000-000000000001"),
    channel_id=UUID("01930000-0000-7000-8000-000000000002"),
    channel_name="ada",
    title="First light",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
ENVELOPE = Envelope(
    id=UUID("01930000-0000-7000-8000-000000000003"),
    source="streaming",
    time=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    event=STARTED,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def test_an_event_survives_the_wire() -> None:
    key, value, headers = encode(ENVELOPE)
    assert key == str(STARTED.channel_id).encode()
    assert decode(EVENT_MODELS, value, headers) == ENVELOPE


def test_headers_are_cloudevents_in_binary_mode() -> None:
    _, _, headers = encode(ENVELOPE)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"01930000-0000-7000-8000-000000000003",
        "ce_type": b"stream.started",
        "ce_source": b"/livestream/streaming",
        "ce_time": b"2026-01-02T03:04:05.678000+00:00",
        "ce_subject": b"01930000-0000-7000-8000-000000000001",
        "content-type": b"application/json",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


def test_building_refuses_an_unknown_field() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        StreamStarted.model_validate({**STARTED.model_dump(), "viewers": 3})


def test_reading_ignores_an_unknown_field() -> None:
    _, value, headers = encode(ENVELOPE)
    newer = json.dumps({**json.loads(value), "added_later": {"deep": [1]}}).encode()
    assert decode(EVENT_MODELS, newer, headers) == ENVELOPE


def test_an_unknown_type_is_told_from_a_broken_event() -> None:
    _, value, headers = encode(ENVELOPE)
    stranger = tuple((name, b"stream.teleported" if name == "ce_type" else text) for name, text in headers)
    with pytest.raises(UnknownEventType) as caught:
        decode(EVENT_MODELS, value, stranger)
    assert caught.value.type == "stream.teleported"


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"])
def test_a_missing_attribute_is_named(missing: str) -> None:
    _, value, headers = encode(ENVELOPE)
    with pytest.raises(UndecodableEvent, match=f"header {missing} is missing"):
        decode(EVENT_MODELS, value, [(name, text) for name, text in headers if name != missing])


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("ce_specversion", b"0.3", "ce_specversion"),
        ("ce_id", b"seven", "ce_id is not a UUID"),
        ("ce_time", b"yesterday", "datetime"),
        ("ce_source", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_malformed_attribute_is_named(name: str, text: bytes, reason: str) -> None:
    _, value, headers = encode(ENVELOPE)
    with pytest.raises(UndecodableEvent, match=reason):
        decode(EVENT_MODELS, value, [(header, text if header == name else old) for header, old in headers])


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"stream_id": "x"}', b"\xff"])
def test_a_poisonous_value_is_undecodable(value: bytes | None) -> None:
    _, _, headers = encode(ENVELOPE)
    with pytest.raises(UndecodableEvent):
        decode(EVENT_MODELS, value, headers)


def test_the_reason_names_fields_and_not_their_values() -> None:
    _, value, headers = encode(ENVELOPE)
    private = json.dumps({**json.loads(value), "stream_id": "sk_private"}).encode()
    with pytest.raises(UndecodableEvent) as caught:
        decode(EVENT_MODELS, private, headers)
    assert "stream_id" in caught.value.reason
    assert "sk_private" not in caught.value.reason


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_ever_written_still_decodes(path: Path) -> None:
    example = json.loads(path.read_text())
    envelope = decode(EVENT_MODELS, json.dumps(example["data"]).encode(), _headers(example))
    written = json.loads(envelope.event.model_dump_json())
    assert example["data"].items() <= written.items()
    assert envelope.event.key == example["key"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_the_published_schema(path: Path) -> None:
    example = json.loads(path.read_text())
    model = EVENT_MODELS[example["headers"]["ce_type"]]
    jsonschema.validate(example["data"], schema_of(model), format_checker=jsonschema.FormatChecker())


def test_every_event_has_an_example() -> None:
    shown = {json.loads(path.read_text())["headers"]["ce_type"] for path in EXAMPLES}
    assert shown == set(EVENT_MODELS)


@pytest.mark.parametrize("model", EVENT_MODELS.values(), ids=lambda model: model.type)
def test_the_committed_schema_is_the_generated_one(model: type[Event]) -> None:
    committed = (ROOT / "events" / "schemas" / f"{model.type}.json").read_text()
    assert committed == to_json(schema_of(model)), "run `make generate` and look at what changed"


def test_the_committed_documents_are_the_generated_ones() -> None:
    assert (ROOT / "events" / "asyncapi.json").read_text() == to_json(asyncapi_document())
    assert (ROOT / "docs" / "events.md").read_text() == events_page()


def test_no_schema_of_a_vanished_event_is_left() -> None:
    assert {path.stem for path in (ROOT / "events" / "schemas").glob("*.json")} == set(EVENT_MODELS)


def test_types_read_as_facts_and_stand_on_one_topic() -> None:
    said = [model.type for topic in TOPICS for model in topic.events]
    assert len(said) == len(set(said))
    for name in said:
        aggregate, _, fact = name.partition(".")
        assert aggregate, name
        assert fact.endswith(("ed", "sent")), f"{name}: an event is named for what has happened"


def test_every_event_has_a_consumer() -> None:
    for topic in TOPICS:
        assert topic.consumers, f"{topic.name}: an event that nobody hears is not said"
    assert topic_of(StreamStarted).name == "streams.v1"


def _headers(example: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in example["headers"].items()]
