"""Webhooks over HTTP: a person's endpoints."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator

from notify.outbound import URL_CHARACTERS_MAX, AddressRefused, Outbound
from notify.store import LAST_USER_ID
from notify.webhooks.endpoints import Change, Endpoint, Endpoints, NewEndpoint
from notify.webhooks.errors import (
    TooManyTests,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
    WebhooksOff,
)
from notify.webhooks.payloads import EVENT_PATTERNS, USUAL_PATTERNS
from notify.webhooks.presets import PRESET_EVENTS, Preset
from notify.webhooks.urls import EndpointUrl, UrlWrong, parse_url
from notify.webhooks.webhooks import Webhooks
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.problems import ValidationFailed
from runtime.tokens import Caller

DESCRIPTION_CHARACTERS_MAX = 200
AUTHORIZATION_CHARACTERS_MAX = 1_024
OFF_RETRY_AFTER_SECONDS = 3_600

PresetName = Literal["discord", "slack", "telegram", "matrix"]
Url = Annotated[SecretStr, Field(max_length=URL_CHARACTERS_MAX)]
Description = Annotated[
    str, StringConstraints(max_length=DESCRIPTION_CHARACTERS_MAX, strip_whitespace=True, pattern=r"^[^\x00]*$")
]
Authorization = Annotated[SecretStr, Field(min_length=1, max_length=AUTHORIZATION_CHARACTERS_MAX)]
Events = Annotated[list[str], Field(min_length=1, max_length=len(EVENT_PATTERNS))]

URL_IS = (
    "Where to post, https. Chat services put their secret into it, so it is not shown again, but for its host and end. "
    "Telegram: `https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>`. "
    "Matrix: `https://<server>/_matrix/client/v3/rooms/<room id>/send/m.room.message`."
)
EVENTS_ARE = f"Types, or patterns of them: {', '.join(f'`{pattern}`' for pattern in EVENT_PATTERNS)}."
AUTHORIZATION_IS = (
    "Sent as the Authorization header, such as `Bearer <access token>`, which Matrix wants; never shown again."
)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("events", check_fields=False)
    @classmethod
    def _are_known(cls, events: list[str] | None) -> list[str] | None:
        for event in events or []:
            if event not in EVENT_PATTERNS:
                raise ValueError(f"there are: {', '.join(EVENT_PATTERNS)}")
        return events if events is None else list(dict.fromkeys(events))

    @field_validator("authorization", check_fields=False)
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
            raise ValueError("must be printable ASCII")
        return value


class NewWebhook(_Body):
    """What to post, and where."""

    url: Url = Field(description=URL_IS)
    events: Events | None = Field(
        default=None, description=f"{EVENTS_ARE} Default: all but chat; with a preset those that it announces."
    )
    description: Description = Field(default="", description="Your own words.")
    preset: PresetName | None = Field(
        default=None,
        description="Post an announcement in the shape of this chat service, instead of the signed event:"
        f" of {', '.join(PRESET_EVENTS)} alone.",
    )
    authorization: Authorization | None = Field(default=None, description=AUTHORIZATION_IS)


class WebhookChange(_Body):
    """What becomes different; what is absent or null stays as it is."""

    url: Url | None = Field(default=None, description=URL_IS)
    events: Events | None = Field(default=None, description=EVENTS_ARE)
    description: Description | None = None
    authorization: Authorization | None = Field(default=None, description=AUTHORIZATION_IS)


class WebhookPath(BaseModel):
    """Which webhook."""

    webhook_id: UUID


class WebhookView(BaseModel):
    """A webhook, without its secrets."""

    webhook_id: UUID
    url: str = Field(description="Host and the last characters; the rest is a secret.")
    events: list[str]
    description: str
    preset: PresetName | None
    has_authorization: bool
    former_secret_until: datetime | None = Field(description="Until then the secret before the last one signs as well.")
    failing_since: datetime | None = Field(description="The first failed attempt since anything was delivered.")
    disabled_at: datetime | None = Field(description="Nothing is posted since then, until you enable it.")
    disabled_because: str | None
    created_at: datetime


class CreatedWebhookView(WebhookView):
    """A new webhook, with its secret."""

    secret: str = Field(description="Verify signatures with it (Standard Webhooks); it cannot be shown again.")


class SecretView(BaseModel):
    """A new secret."""

    secret: str = Field(description="It cannot be shown again.")
    former_secret_until: datetime = Field(description="Until then the secret before signs as well.")


class WebhooksView(BaseModel):
    """A page of one's webhooks, the newest first."""

    items: list[WebhookView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class QueuedView(BaseModel):
    """What will be posted in a moment; the log shows how it goes."""

    message_id: UUID


class WebhooksApi:
    """Having events of your channel posted to you."""

    tag = "webhooks"

    def __init__(self, webhooks: Webhooks | None, outbound: Outbound) -> None:
        self._webhooks = webhooks
        self._outbound = outbound

    @endpoint("POST", "/api/webhooks", problems=(WebhooksOff, TooManyWebhooks), status=201)
    async def create_webhook(self, caller: Caller, body: NewWebhook) -> CreatedWebhookView:
        """Have events of your channel posted to a URL. The answer alone shows the secret."""
        endpoints = self._endpoints()
        preset = Preset(body.preset) if body.preset else None
        if preset is Preset.MATRIX and body.authorization is None:
            raise _wrong("authorization", "Matrix wants an access token: Bearer <access token>")
        events = body.events or (list(PRESET_EVENTS) if preset else list(USUAL_PATTERNS))
        wanted = NewEndpoint(
            url=await self._checked(body.url, preset),
            events=_suitable(events, preset),
            description=body.description,
            preset=preset,
            authorization=_plain(body.authorization),
        )
        made, secret = await endpoints.create(caller.user_id, wanted)
        return CreatedWebhookView(**webhook_view(made).model_dump(), secret=secret)

    @endpoint("GET", "/api/webhooks", problems=(WebhooksOff,))
    async def list_webhooks(self, caller: Caller, query: PageQuery) -> WebhooksView:
        """Your webhooks, the newest first."""
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else LAST_USER_ID
        found = await self._endpoints().list_of(caller.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return WebhooksView(
            items=[webhook_view(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].endpoint_id) if more else None,
        )

    @endpoint("GET", "/api/webhooks/{webhook_id}", problems=(WebhooksOff, WebhookNotFound))
    async def show_webhook(self, caller: Caller, path: WebhookPath) -> WebhookView:
        """One of your webhooks."""
        return webhook_view(await self._endpoints().find(caller.user_id, path.webhook_id))

    @endpoint("PATCH", "/api/webhooks/{webhook_id}", problems=(WebhooksOff, WebhookNotFound))
    async def change_webhook(self, caller: Caller, path: WebhookPath, body: WebhookChange) -> WebhookView:
        """Change a webhook. Messages that wait go to the new URL."""
        endpoints = self._endpoints()
        present = await endpoints.find(caller.user_id, path.webhook_id)
        preset = Preset(present.preset) if present.preset else None
        change = Change(
            url=await self._checked(body.url, preset) if body.url else None,
            events=_suitable(body.events, preset) if body.events else None,
            description=body.description,
            authorization=_plain(body.authorization),
        )
        return webhook_view(await endpoints.change(caller.user_id, path.webhook_id, change))

    @endpoint("DELETE", "/api/webhooks/{webhook_id}", problems=(WebhooksOff, WebhookNotFound))
    async def delete_webhook(self, caller: Caller, path: WebhookPath) -> None:
        """Delete a webhook; what waits for it is not posted any more."""
        await self._endpoints().delete(caller.user_id, path.webhook_id)

    @endpoint("POST", "/api/webhooks/{webhook_id}/rotate-secret", problems=(WebhooksOff, WebhookNotFound))
    async def rotate_secret(self, caller: Caller, path: WebhookPath) -> SecretView:
        """Get a new secret. For 24 hours the present one signs as well, so that receivers can be changed in between."""
        secret, until = await self._endpoints().rotate_secret(caller.user_id, path.webhook_id)
        return SecretView(secret=secret, former_secret_until=until)

    @endpoint("POST", "/api/webhooks/{webhook_id}/enable", problems=(WebhooksOff, WebhookNotFound))
    async def enable_webhook(self, caller: Caller, path: WebhookPath) -> WebhookView:
        """Post to a disabled webhook again. What happened meanwhile is lost; failed messages can be replayed."""
        return webhook_view(await self._endpoints().enable(caller.user_id, path.webhook_id))

    @endpoint(
        "POST",
        "/api/webhooks/{webhook_id}/test",
        problems=(WebhooksOff, WebhookNotFound, WebhookDisabled, TooManyTests),
        status=202,
        idempotent=True,
    )
    async def test_webhook(self, caller: Caller, path: WebhookPath) -> QueuedView:
        """Post a `webhook.test` (with a preset: an announcement that says so), like any other message."""
        found = await self._endpoints().find(caller.user_id, path.webhook_id)
        return QueuedView(message_id=await webhooks_on(self._webhooks).test(found))

    def _endpoints(self) -> Endpoints:
        return webhooks_on(self._webhooks).endpoints

    async def _checked(self, url: SecretStr, preset: Preset | None) -> EndpointUrl:
        text = url.get_secret_value()
        try:
            await self._outbound.check_url(text)
            return parse_url(text, preset)
        except AddressRefused as error:
            raise _wrong("url", error.reason) from error
        except UrlWrong as error:
            raise _wrong("url", str(error)) from error


def webhooks_on(webhooks: Webhooks | None) -> Webhooks:
    """Webhooks; raises WebhooksOff when this installation has none."""
    if webhooks is None:
        raise WebhooksOff(
            "its operator has not set LIVESTREAM_NOTIFY_SEALING_SECRET", retry_after_seconds=OFF_RETRY_AFTER_SECONDS
        )
    return webhooks


def webhook_view(found: Endpoint) -> WebhookView:
    """An endpoint as its owner sees it."""
    return WebhookView(
        webhook_id=found.endpoint_id,
        url=found.url_shown,
        events=list(found.events),
        description=found.description,
        preset=Preset(found.preset).value if found.preset else None,
        has_authorization=found.has_authorization,
        former_secret_until=found.former_secret_until,
        failing_since=found.failing_since,
        disabled_at=found.disabled_at,
        disabled_because=found.disabled_because,
        created_at=found.created_at,
    )


def _suitable(events: list[str], preset: Preset | None) -> list[str]:
    if preset is not None and (others := [event for event in events if event not in PRESET_EVENTS]):
        raise _wrong("events", f"{preset.value} announces {' and '.join(PRESET_EVENTS)} alone, not {others[0]}")
    return events


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _wrong(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"body.{field}: {message}", errors=[{"field": f"body.{field}", "message": message}])
