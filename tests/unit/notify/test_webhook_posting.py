"""One attempt: the request as its receiver wants it, what the answer means, and what the log notes of it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from notify.deliveries.delivery import (
    Delivered,
    Delivery,
    Dropped,
    Failed,
    Gone,
    Outcome,
    ProviderBusy,
)
from notify.outbound import Answer
from notify.webhooks.attempts import KEPT_MAX, Attempt, Attempts
from notify.webhooks.channel import SCHEDULE, entry
from notify.webhooks.messages import EXPIRES_AFTER
from notify.webhooks.posting import BUSY_PAUSE_MAX, Posting, excerpt_of, outcome_of, retry_after_in
from notify.webhooks.presets import Preset
from runtime.ids import uuid7

MESSAGE = UUID("0192aaaa-0000-7000-8000-000000000003")
NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)


def answer(status: int, retry_after: timedelta | None = None, body: bytes = b"") -> Answer:
    return Answer(status=status, headers={}, excerpt=body, retry_after=retry_after)


def posting(preset: Preset | None, url: str, *, authorization: str | None = None) -> Posting:
    return Posting(
        message_id=MESSAGE,
        url=url,
        body='{"text":"hi"}',
        preset=preset,
        secrets=("whsec_" + "QUFB" * 8,),
        authorization=authorization,
        seconds_max=1.0,
    )


def failed(reason: str, retry_after: timedelta | None = None) -> Failed:
    """What is the endpoint's own fault, and nobody else's at its host."""
    return Failed(reason, retry_after, blames_provider=False)


@pytest.mark.parametrize(
    ("said", "preset", "wanted"),
    [
        (answer(200), None, Delivered()),
        (answer(204), None, Delivered()),
        (answer(410), None, Gone("answered 410")),
        (answer(404), None, failed("answered 404")),
        (answer(500), None, failed("answered 500")),
        (answer(503, 7 * SECOND), None, failed("answered 503", 7 * SECOND)),
        (answer(429, 7 * SECOND), None, failed("answered 429", 7 * SECOND)),
        (answer(429), Preset.DISCORD, failed("answered 429")),
        (answer(429, 7 * SECOND), Preset.DISCORD, ProviderBusy("answered 429", 7 * SECOND)),
        (answer(429, timedelta(days=1)), Preset.SLACK, ProviderBusy("answered 429", BUSY_PAUSE_MAX)),
        (answer(503, 7 * SECOND), Preset.SLACK, failed("answered 503", 7 * SECOND)),
        (
            answer(429, None, b'{"parameters":{"retry_after":3}}'),
            Preset.TELEGRAM,
            ProviderBusy("answered 429", 3 * SECOND),
        ),
    ],
)
def test_what_answers_mean(said: Answer, preset: Preset | None, wanted: Outcome) -> None:
    assert outcome_of(said, preset) == wanted


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"retry_after": 0.5, "global": false}', 0.5),
        (b'{"retry_after_ms": 1500}', 1.5),
        (b'{"ok":false,"parameters":{"retry_after":35}}', 35.0),
        (b'{"retry_after": "soon"}', None),
        (b'{"retry_after": -1}', None),
        (b'{"retry_after": 1e300}', None),
        (b'{"retry_after": NaN}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"[" * 4_096, None),
    ],
)
def test_how_long_a_body_asks_to_wait(body: bytes, seconds: float | None) -> None:
    assert retry_after_in(body) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_program_gets_a_signature_and_a_chat_service_none() -> None:
    plain = posting(None, "https://example.org/hook")
    assert set(plain.headers(NOW)) == {"Content-Type", "webhook-id", "webhook-timestamp", "webhook-signature"}
    assert plain.headers(NOW)["webhook-id"] == str(MESSAGE)
    assert set(posting(Preset.SLACK, "https://example.org/hook").headers(NOW)) == {"Content-Type"}


def test_matrix_gets_the_messages_id_as_its_transaction_and_the_token_as_a_header() -> None:
    one = posting(Preset.MATRIX, "https://m.example/rooms/!r:m/send/m.room.message", authorization="Bearer syt_x")
    assert one.target_url() == f"https://m.example/rooms/!r:m/send/m.room.message/{MESSAGE}"
    assert one.headers(NOW)["Authorization"] == "Bearer syt_x"


def test_telegram_gets_the_chat_beside_the_text() -> None:
    one = posting(Preset.TELEGRAM, "https://api.telegram.org/bot1:x/sendMessage?chat_id=-100")
    assert one.posted_body() == '{"chat_id": "-100", "text": "hi"}'


def test_a_posting_does_not_show_its_secrets() -> None:
    one = posting(Preset.MATRIX, "https://m.example/token", authorization="Bearer syt_x")
    assert repr(one) == str(one) == f"Posting({MESSAGE})"


def test_an_excerpt_is_at_most_a_kibibyte_of_text_that_postgres_takes() -> None:
    assert excerpt_of(b"no\x00pe") == "no\ufffdpe"
    assert len(excerpt_of(b"\xff" * 4_096).encode()) <= 1_024
    assert len(excerpt_of("ä".encode() * 4_096).encode()) <= 1_024


def test_the_schedule_reaches_over_a_day() -> None:
    assert timedelta(hours=24) < sum(SCHEDULE.waits, timedelta()) < EXPIRES_AFTER - timedelta(hours=24)


def delivery() -> Delivery:
    one = uuid7()
    return Delivery(
        delivery_id=1,
        source_id=one,
        message_id=MESSAGE,
        user_id=one,
        destination_id=one,
        provider="example.org:443",
        attempts=0,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        content=None,
    )


@pytest.mark.parametrize(
    ("outcome", "is_last", "state"),
    [
        (Delivered(), True, "delivered"),
        (Failed("answered 500"), False, "pending"),
        (Failed("answered 500"), True, "failed"),
        (Gone("answered 410"), True, "failed"),
        (Dropped("disabled"), True, "failed"),
        (ProviderBusy("answered 429", SECOND), False, "pending"),
    ],
)
def test_what_the_log_notes(outcome: Outcome, is_last: bool, state: str) -> None:
    attempt = Attempt(at=NOW, seconds=0.1, status=500, excerpt="")
    noted = entry(delivery(), outcome, is_last, attempt)
    assert (noted.state, noted.attempt) == (state, attempt)
    assert noted.reason == (None if isinstance(outcome, Delivered) else outcome.reason)


def test_an_attempt_that_the_engine_cut_off_is_noted_and_what_was_never_tried_is_not() -> None:
    cut = entry(delivery(), Failed("took too long"), False, None)
    assert cut.attempt is not None
    assert cut.attempt.status is None
    assert entry(delivery(), Dropped("disabled"), True, None).attempt is None


def test_attempts_that_are_never_settled_do_not_pile_up() -> None:
    attempts = Attempts()
    for number in range(KEPT_MAX + 10):
        attempts.keep(number, Attempt(at=NOW, seconds=0.0, status=200, excerpt=""))
    assert attempts.take(0) is None
    assert attempts.take(KEPT_MAX + 9) is not None
    assert attempts.take(KEPT_MAX + 9) is None
