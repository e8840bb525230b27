"""Web Push over HTTP: the key to subscribe with, and one's subscriptions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, JsonValue

from notify.outbound import AddressRefused, Outbound
from notify.webpush.errors import PushSubscriptionNotFound, TooManyPushSubscriptions, WebPushOff
from notify.webpush.keys import AUTH_BYTES, decode_base64url, public_key
from notify.webpush.store import Registered
from notify.webpush.subscriptions import PushSubscriptions
from notify.webpush.vapid import Vapid
from runtime.endpoints import endpoint
from runtime.problems import ValidationFailed
from runtime.tokens import Caller

ENDPOINT_CHARACTERS_MAX = 2_000
KEY_CHARACTERS_MAX = 100


def _point(text: str) -> str:
    public_key(decode_base64url(text))
    return text


def _secret(text: str) -> str:
    if len(decode_base64url(text)) != AUTH_BYTES:
        raise ValueError(f"must be {AUTH_BYTES} bytes in base64url")
    return text


class PushKeys(BaseModel):
    """What messages for a browser are encrypted with."""

    p256dh: Annotated[str, Field(max_length=KEY_CHARACTERS_MAX), AfterValidator(_point)] = Field(
        description="Its public key: an uncompressed point of P-256, 65 bytes in base64url."
    )
    auth: Annotated[str, Field(max_length=KEY_CHARACTERS_MAX), AfterValidator(_secret)] = Field(
        description="Its authentication secret: 16 bytes in base64url."
    )


class PushSubscription(BaseModel):
    """A browser's subscription, as its `PushSubscription.toJSON()` gives it."""

    endpoint: str = Field(
        min_length=1,
        max_length=ENDPOINT_CHARACTERS_MAX,
        description="The https address at its push service. Whoever knows it can address the browser.",
    )
    expirationTime: float | None = Field(  # noqa: N815  the name is the browser's
        default=None, description="Not used: the push service says when it is over."
    )
    keys: PushKeys


class PushKeyView(BaseModel):
    """What a browser needs to subscribe."""

    public_key: str = Field(description="`applicationServerKey`: an uncompressed point of P-256 in base64url.")


class PushPath(BaseModel):
    """Which subscription."""

    subscription_id: UUID


class PushSubscriptionView(BaseModel):
    """One of your browsers. The endpoint is not shown again."""

    subscription_id: UUID
    provider: str = Field(description="Host and port of its push service.")
    created_at: datetime
    renewed_at: datetime = Field(description="When the browser last gave it to us.")


class PushSubscriptionsView(BaseModel):
    """Your browsers, the oldest first; a person has few, so this is all of them."""

    items: list[PushSubscriptionView]


class WebPushApi:
    """Telling browsers although no page is open."""

    tag = "notifications"

    def __init__(self, subscriptions: PushSubscriptions, vapid: Vapid | None, outbound: Outbound) -> None:
        self._subscriptions = subscriptions
        self._vapid = vapid
        self._outbound = outbound

    @endpoint("GET", "/api/notifications/push/key", problems=(WebPushOff,), headers={"Cache-Control": "no-cache"})
    async def show_push_key(self) -> PushKeyView:
        """The key that browsers subscribe with. A browser that has subscribed with another has to do it again."""
        return PushKeyView(public_key=self._on().public_key)

    @endpoint("POST", "/api/notifications/push", problems=(WebPushOff, TooManyPushSubscriptions))
    async def subscribe_browser(self, caller: Caller, body: PushSubscription) -> PushSubscriptionView:
        """Have this browser told. Saying it again renews it; a browser is told for whoever said it last."""
        self._on()
        try:
            await self._outbound.check_url(body.endpoint)
        except AddressRefused as refused:
            wrong: JsonValue = {"field": "body.endpoint", "message": refused.reason}
            raise ValidationFailed("1 wrong in the body", errors=[wrong]) from refused
        kept = await self._subscriptions.subscribe(
            caller,
            endpoint=body.endpoint,
            p256dh=decode_base64url(body.keys.p256dh),
            auth=decode_base64url(body.keys.auth),
        )
        return _view(kept)

    @endpoint("GET", "/api/notifications/push")
    async def list_push_subscriptions(self, caller: Caller) -> PushSubscriptionsView:
        """Your browsers."""
        return PushSubscriptionsView(items=[_view(one) for one in await self._subscriptions.list_of(caller.user_id)])

    @endpoint("DELETE", "/api/notifications/push/{subscription_id}", problems=(PushSubscriptionNotFound,))
    async def unsubscribe_browser(self, caller: Caller, path: PushPath) -> None:
        """Do not have a browser told any more."""
        await self._subscriptions.unsubscribe(caller.user_id, path.subscription_id)

    def _on(self) -> Vapid:
        if self._vapid is None:
            raise WebPushOff("its operator has not set LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY")
        return self._vapid


def _view(one: Registered) -> PushSubscriptionView:
    return PushSubscriptionView(
        subscription_id=one.destination_id,
        provider=one.provider,
        created_at=one.created_at,
        renewed_at=one.renewed_at,
    )
