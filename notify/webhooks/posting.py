"""One attempt at one endpoint: the request in the form that its receiver wants, and what the answer means."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from notify.deliveries.delivery import Delivered, Failed, Gone, Outcome, ProviderBusy
from notify.outbound import AddressRefused, Answer, Outbound, OutboundFailed
from notify.webhooks.attempts import Attempt
from notify.webhooks.presets import Preset, telegram_chat
from notify.webhooks.signing import signed_headers

EXCERPT_BYTES_MAX = 1_024
BUSY_PAUSE_MAX = timedelta(minutes=1)
"""Its whole host waits for a chat service that is busy, with the webhooks of others: not longer than this at a time."""
GONE, TOO_MANY, UNAVAILABLE = 410, 429, 503
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Posting:
    """A message and all that is needed to post it. Its parts are secret: it has no representation."""

    message_id: UUID
    url: str
    body: str
    preset: Preset | None
    secrets: tuple[str, ...]
    authorization: str | None
    seconds_max: float

    def __repr__(self) -> str:
        return f"Posting({self.message_id})"

    async def post(self, outbound: Outbound) -> tuple[Attempt, Outcome]:
        """Post once; how it went, and what that means for the delivery."""
        at, began = datetime.now(UTC), time.perf_counter()
        status: int | None = None
        excerpt: str | None = None
        outcome: Outcome
        try:
            answer = await outbound.post(
                self.target_url(),
                body=self.posted_body().encode(),
                headers=self.headers(at),
                seconds_max=self.seconds_max,
                method="PUT" if self.preset is Preset.MATRIX else "POST",
            )
        except AddressRefused as error:
            # the name may resolve to something else again
            outcome = Failed(f"not posted: {error.reason}", blames_provider=False)
        except OutboundFailed as error:
            status, outcome = error.status, Failed(error.reason, blames_provider=error.status is None)
        else:
            status, excerpt = answer.status, excerpt_of(answer.excerpt)
            outcome = outcome_of(answer, self.preset)
        return Attempt(at=at, seconds=time.perf_counter() - began, status=status, excerpt=excerpt), outcome

    def target_url(self) -> str:
        """Where to. Matrix takes an event once by its transaction's id, which is the message's."""
        return f"{self.url}/{quote(str(self.message_id))}" if self.preset is Preset.MATRIX else self.url

    def posted_body(self) -> str:
        """What is posted. Telegram wants the chat beside the text; the log need not know it."""
        if self.preset is not Preset.TELEGRAM:
            return self.body
        return json.dumps({"chat_id": telegram_chat(self.url), **json.loads(self.body)}, ensure_ascii=False)

    def headers(self, at: datetime) -> Mapping[str, str]:
        """Of this attempt. Chat services get no signature: they know their senders by the URL, or by Authorization."""
        headers = {"Content-Type": JSON_TYPE}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        if self.preset is None:
            headers.update(signed_headers(self.message_id, at, self.body, self.secrets))
        return headers


def outcome_of(answer: Answer, preset: Preset | None) -> Outcome:
    """What an answer means (Standard Webhooks, "Operational considerations").

    Strangers share hosts. So what an endpoint answers counts for its own messages alone, also that it is busy; a host
    is left alone only where nothing answers. The word of a chat service, whose limits are for all of its senders,
    counts for a moment for its host.
    """
    if 200 <= answer.status < 300:
        return Delivered()
    reason = f"answered {answer.status}"
    if answer.status == GONE:
        return Gone(reason)
    if answer.status not in (TOO_MANY, UNAVAILABLE):
        return Failed(reason, blames_provider=False)
    retry_after = answer.retry_after or retry_after_in(answer.excerpt)
    if preset is not None and answer.status == TOO_MANY and retry_after is not None:
        return ProviderBusy(reason, min(retry_after, BUSY_PAUSE_MAX))
    return Failed(reason, retry_after, blames_provider=False)


def retry_after_in(excerpt: bytes) -> timedelta | None:
    """How long to wait, from a body as Discord, Telegram and Matrix answer 429; None: it does not say."""
    try:
        told = json.loads(excerpt)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    parameters = told.get("parameters")
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else told.get("retry_after")
    milliseconds = told.get("retry_after_ms")
    if seconds is None and isinstance(milliseconds, int | float):
        seconds = milliseconds / 1_000
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 86_400:
        return None
    return timedelta(seconds=seconds)


def excerpt_of(answer: bytes) -> str:
    """The beginning of an answer as text that Postgres takes."""
    text = answer[:EXCERPT_BYTES_MAX].decode("utf-8", "replace").replace("\x00", "\ufffd")
    return text.encode()[:EXCERPT_BYTES_MAX].decode("utf-8", "ignore")
