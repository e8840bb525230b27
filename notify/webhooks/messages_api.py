"""The log of a webhook over HTTP: what was posted, how each attempt went, and posting it again."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from notify.store import LAST_USER_ID
from notify.webhooks.api import WebhookPath, webhooks_on
from notify.webhooks.endpoints import Endpoint
from notify.webhooks.errors import (
    MessageNotFound,
    MessagePending,
    WebhookDisabled,
    WebhookNotFound,
    WebhooksOff,
)
from notify.webhooks.messages import REPLAYED_AT_ONCE_MAX, Message, State
from notify.webhooks.webhooks import Webhooks
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.tokens import Caller


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be within the years 1 to 9999 of UTC") from error


class MessagePath(WebhookPath):
    """Which message of which webhook."""

    message_id: UUID


class MessagesQuery(PageQuery):
    """Which messages."""

    state: State | None = Field(default=None, description="Only messages in this state.")


class MessageView(BaseModel):
    """An event for a webhook, and how far it got."""

    message_id: UUID = Field(description="The event's id, sent as `webhook-id` in every attempt.")
    type: str
    state: State = Field(description="`pending`: it is being tried; `failed`: given up, and may be replayed.")
    attempts: int
    reason: str | None = Field(description="Why the last attempt failed, or why there is none.")
    created_at: datetime
    settled_at: datetime | None = Field(description="When it was delivered or given up.")


class MessagesView(BaseModel):
    """A page of the log, the newest first."""

    items: list[MessageView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class AttemptView(BaseModel):
    """How one attempt went."""

    attempted_at: datetime
    seconds: float = Field(description="How long it took.")
    status: int | None = Field(description="Of the answer; null: there was none.")
    error: str | None
    excerpt: str | None = Field(description="The beginning of the answer, at most 1 KiB.")


class MessageDetailView(MessageView):
    """A message with what was posted, and the attempts."""

    body: JsonValue
    attempts_log: list[AttemptView] = Field(description="The newest first, at most 100.")


class FailedSince(BaseModel):
    """Which failed messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Annotated[AwareDatetime, AfterValidator(_in_utc)] = Field(description="Those of events from this time on.")


class ReplayedView(BaseModel):
    """What will be posted again."""

    messages: int = Field(description=f"How many; at most {REPLAYED_AT_ONCE_MAX}, the oldest first: repeat until 0.")


class WebhookMessagesApi:
    """What was posted to your webhooks."""

    tag = "webhooks"

    def __init__(self, webhooks: Webhooks | None) -> None:
        self._webhooks = webhooks

    @endpoint("GET", "/api/webhooks/{webhook_id}/messages", problems=(WebhooksOff, WebhookNotFound))
    async def list_messages(self, caller: Caller, path: WebhookPath, query: MessagesQuery) -> MessagesView:
        """What was or will be posted, the newest first."""
        webhooks, _ = await self._own(caller, path.webhook_id)
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else LAST_USER_ID
        found = await webhooks.log.list_of(path.webhook_id, state=query.state, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return MessagesView(
            items=[MessageView(**_shown(one)) for one in shown],
            next_cursor=encode_cursor(shown[-1].message_id) if more else None,
        )

    @endpoint(
        "GET",
        "/api/webhooks/{webhook_id}/messages/{message_id}",
        problems=(WebhooksOff, WebhookNotFound, MessageNotFound),
    )
    async def show_message(self, caller: Caller, path: MessagePath) -> MessageDetailView:
        """One message: what was posted, and how each attempt went."""
        webhooks, _ = await self._own(caller, path.webhook_id)
        message, body, attempts = await webhooks.log.find(path.webhook_id, path.message_id)
        return MessageDetailView(
            **_shown(message),
            body=json.loads(body),
            attempts_log=[
                AttemptView(
                    attempted_at=one.attempted_at,
                    seconds=one.seconds,
                    status=one.status,
                    error=one.error,
                    excerpt=one.excerpt,
                )
                for one in attempts
            ],
        )

    @endpoint(
        "POST",
        "/api/webhooks/{webhook_id}/messages/{message_id}/replay",
        problems=(WebhooksOff, WebhookNotFound, WebhookDisabled, MessageNotFound, MessagePending),
        status=202,
        idempotent=True,
    )
    async def replay_message(self, caller: Caller, path: MessagePath) -> ReplayedView:
        """Post a message again, under the same id."""
        webhooks = await self._enabled(caller, path.webhook_id)
        await webhooks.log.replay(caller.user_id, path.webhook_id, path.message_id)
        webhooks.wake()
        return ReplayedView(messages=1)

    @endpoint(
        "POST",
        "/api/webhooks/{webhook_id}/replay",
        problems=(WebhooksOff, WebhookNotFound, WebhookDisabled),
        status=202,
        idempotent=True,
    )
    async def replay_failed(self, caller: Caller, path: WebhookPath, body: FailedSince) -> ReplayedView:
        """Post all failed messages since a time again, each under its id."""
        webhooks = await self._enabled(caller, path.webhook_id)
        replayed = await webhooks.log.replay_failed(caller.user_id, path.webhook_id, since=body.since)
        webhooks.wake()
        return ReplayedView(messages=replayed)

    async def _own(self, caller: Caller, webhook_id: UUID) -> tuple[Webhooks, Endpoint]:
        webhooks = webhooks_on(self._webhooks)
        return webhooks, await webhooks.endpoints.find(caller.user_id, webhook_id)

    async def _enabled(self, caller: Caller, webhook_id: UUID) -> Webhooks:
        webhooks, found = await self._own(caller, webhook_id)
        if found.disabled_at is not None:
            raise WebhookDisabled(f"it is disabled ({found.disabled_because}); enable it first")
        return webhooks


def _shown(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}
