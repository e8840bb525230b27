"""One attempt to send: its headers, what its answer means, and what is said of a signature that is not accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from notify.deliveries.delivery import (
    Delivered,
    Delivery,
    Failed,
    Gone,
    Outcome,
    ProviderBusy,
    Refused,
)
from notify.outbound import AddressRefused, Answer, Outbound, OutboundFailed, parse_retry_after
from notify.webpush.answers import outcome_of
from notify.webpush.channel import PushLimits, PushSender, PushSending
from notify.webpush.keys import private_key, public_point
from notify.webpush.messages import PushMessage
from notify.webpush.store import Target
from notify.webpush.vapid import Vapid

KEY = private_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
STREAM = UUID("019a8b3c-0000-7000-8000-00000000abcd")
LIMITS = PushLimits(ttl=timedelta(hours=1), send_seconds_max=5.0, retry_after_default=timedelta(seconds=60))
MESSAGE = PushMessage(message_id=STREAM, stream_id=STREAM, title="ada is live", body="x" * 150, urgency="high")
TARGET = Target(STREAM, STREAM, "https://push.example.net/wpush/secret", public_point(KEY), b"a" * 16)


class Service:
    """Answers one after the other, the last one for ever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []
        self.headers: Mapping[str, str] = {}

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str], seconds_max: float) -> Answer:
        self.bodies.append(body)
        self.headers = headers
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(status: int, *, retry_after: timedelta | None = None, excerpt: bytes = b"") -> Answer:
    return Answer(status, {}, excerpt, retry_after)


def delivery(expires_in: timedelta = timedelta(minutes=30)) -> Delivery:
    now = datetime.now(UTC)
    return Delivery(1, STREAM, STREAM, STREAM, STREAM, "push.example.net:443", 0, now, now + expires_in, None)


def sender(service: Service) -> PushSender:
    return PushSender(cast(Outbound, service), Vapid(KEY), LIMITS)


async def sent(service: Service, one: Delivery | None = None) -> Outcome:
    return await PushSending(sender(service), one or delivery(), TARGET, MESSAGE).send()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Delivered),
        (201, Delivered),
        (202, Delivered),
        (204, Delivered),
        (404, Gone),
        (410, Gone),
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (405, Refused),
        (413, Refused),
        (451, Refused),
        (408, Failed),
        (500, Failed),
        (502, Failed),
        (503, Failed),
        (507, Failed),
        (429, ProviderBusy),
    ],
)
async def test_what_an_answer_means(status: int, kind: type[Outcome]) -> None:
    outcome = await sent(Service(answer(status)))
    assert type(outcome) is kind
    assert isinstance(outcome, Delivered) or str(status) in outcome.reason


def test_only_404_and_410_end_a_subscription() -> None:
    ends = [
        status
        for status in range(200, 600)
        if isinstance(outcome_of(status, retry_after=None, retry_after_default=LIMITS.retry_after_default), Gone)
    ]
    assert ends == [404, 410]


@pytest.mark.parametrize("in_words", [False, True])
async def test_a_busy_service_says_for_how_long(in_words: bool) -> None:
    now = datetime.now(UTC)
    text = format_datetime(now + timedelta(seconds=90), usegmt=True) if in_words else "90"
    retry_after = parse_retry_after(text, now)
    outcome = await sent(Service(answer(429, retry_after=retry_after)))
    assert isinstance(outcome, ProviderBusy)
    assert 88 <= outcome.retry_after.total_seconds() <= 90


async def test_a_busy_service_that_does_not_say_is_left_alone_for_the_default() -> None:
    assert await sent(Service(answer(429))) == ProviderBusy("the push service answered 429", timedelta(seconds=60))


async def test_too_large_is_tried_once_more_and_smaller() -> None:
    service = Service(answer(413), answer(201))
    assert await sent(service) == Delivered()
    full, short = service.bodies
    assert len(short) < len(full) - 100


async def test_still_too_large_is_refused() -> None:
    service = Service(answer(413))
    assert isinstance(await sent(service), Refused)
    assert len(service.bodies) == 2


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OutboundFailed("no answer within 5 s"), Failed),
        (OutboundFailed("answered with a redirect (302), which is not followed", status=302), Refused),
        (AddressRefused("the address is not one of the public Internet"), Refused),
    ],
)
async def test_no_answer(raised: Exception, kind: type[Outcome]) -> None:
    assert type(await sent(Service(raised))) is kind


async def test_the_headers_of_a_push() -> None:
    service = Service(answer(201))
    await sent(service)
    headers = dict(service.headers)
    assert headers.pop("Authorization").startswith("vapid t=")
    assert 1_700 <= int(headers.pop("TTL")) <= 1_800
    assert headers == {
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "Topic": MESSAGE.topic,
        "Urgency": "high",
    }


@pytest.mark.parametrize(("wanted", "ttl"), [(timedelta(days=3), 3_600), (timedelta(seconds=-5), 0)])
async def test_the_time_to_live_is_bounded(wanted: timedelta, ttl: int) -> None:
    service = Service(answer(201))
    await sent(service, delivery(wanted))
    assert service.headers["TTL"] == str(ttl)


async def test_a_signature_that_is_not_accepted_is_an_error_once_for_each_service() -> None:
    shared = sender(Service(answer(403, excerpt=b"VapidPkHashMismatch\n\x1b[31m")))
    elsewhere = replace(delivery(), provider="other.example.net:443")
    with capture_logs() as logs:
        for one in (delivery(), delivery(), elsewhere, elsewhere):
            await PushSending(shared, one, TARGET, MESSAGE).send()
    found = [(line["log_level"], line["event"], line["provider"]) for line in logs]
    assert found == [
        ("error", "push_signature_refused", "push.example.net:443"),
        ("error", "push_signature_refused", "other.example.net:443"),
    ]
    assert logs[0]["said"] == "VapidPkHashMismatch [31m"
    assert "secret" not in str(logs), "an endpoint is nobody's to read"


def test_what_lets_one_address_a_browser_is_in_no_text_of_it() -> None:
    assert "secret" not in repr(TARGET)
    assert "aaaa" not in repr(TARGET)
