"""What is posted of events: signed so that receivers can verify it, sealed so that nobody else can read it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events import TOPICS, Envelope, StreamStarted
from notify.webhooks import payloads
from notify.webhooks.sealing import Seal, Unreadable
from notify.webhooks.settings import WebhookSettings
from notify.webhooks.signing import SECRET_BYTES, new_secret, signed_headers

CHANNEL = UUID("0192aaaa-0000-7000-8000-000000000001")
STREAM = UUID("0192aaaa-0000-7000-8000-000000000002")
EVENT = UUID("0192aaaa-0000-7000-8000-000000000003")
AT = datetime(2026, 5, 4, 18, 30, tzinfo=UTC)


def envelope() -> Envelope[StreamStarted]:
    event = StreamStarted(stream_id=STREAM, channel_id=CHANNEL, channel_name="ada", title="Größe <3", started_at=AT)
    return Envelope(id=EVENT, source="streaming", time=AT, event=event)


def test_every_event_of_a_channel_may_be_asked_for() -> None:
    of_channels = {
        event.type
        for topic in TOPICS
        for event in topic.events
        if event.type.partition(".")[0] in {"stream", "recording", "follow", "chat-message"}
    }
    assert of_channels == {event.type for event in payloads.EVENTS}
    assert {"stream.*", "recording.*", "follow.*", "chat-message.*"} | of_channels == set(payloads.EVENT_PATTERNS)


def test_a_body_is_type_timestamp_and_the_events_own_fields() -> None:
    assert json.loads(payloads.event_body(envelope())) == {
        "type": "stream.started",
        "timestamp": "2026-05-04T18:30:00Z",
        "data": {
            "stream_id": str(STREAM),
            "channel_id": str(CHANNEL),
            "channel_name": "ada",
            "title": "Größe <3",
            "category": None,
            "tags": [],
            "language": None,
            "visibility": "public",
            "started_at": "2026-05-04T18:30:00Z",
        },
    }


def test_a_secret_has_the_bytes_that_the_specification_wants() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == SECRET_BYTES
    assert 24 <= SECRET_BYTES <= 64
    assert new_secret() != secret


def test_receivers_verify_with_either_secret_after_a_rotation() -> None:
    now, body = datetime.now(UTC), payloads.event_body(envelope())
    new, former = new_secret(), new_secret()
    headers = dict(signed_headers(EVENT, now, body, [new, former]))
    assert headers["webhook-id"] == str(EVENT)
    for secret in (new, former):
        assert Webhook(secret).verify(body, headers)["type"] == "stream.started"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body.replace("ada", "eve"), headers)
    late = dict(signed_headers(EVENT, now - timedelta(minutes=6), body, [new]))
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, late)


def test_what_is_sealed_opens_at_its_own_place_with_its_own_secret_alone() -> None:
    seal = Seal(b"k" * 32)
    sealed = seal.close("https://example.org/token", place="webhook/1/url")
    assert "token" not in sealed
    assert seal.close("https://example.org/token", place="webhook/1/url") != sealed, "the nonce is not random"
    assert seal.open(sealed, place="webhook/1/url") == "https://example.org/token"
    with pytest.raises(Unreadable):
        seal.open(sealed, place="webhook/2/url")
    with pytest.raises(Unreadable):
        Seal(b"o" * 32).open(sealed, place="webhook/1/url")
    head, _, rest = sealed.rpartition(".")
    with pytest.raises(Unreadable):
        seal.open(f"{head}.{rest[::-1]}", place="webhook/1/url")


@pytest.mark.parametrize("text", ["", "short", "A" * 42, "A" * 44, "!" * 43])
def test_a_sealing_secret_of_another_length_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="32 bytes"):
        WebhookSettings(public_url="https://live.example.org", notify_sealing_secret=SecretStr(text))


def test_both_alphabets_of_base64_are_taken() -> None:
    raw = bytes(range(224, 256))
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
        settings = WebhookSettings(public_url="https://live.example.org", notify_sealing_secret=SecretStr(text))
        assert settings.sealing_secret() == raw
