"""Subscribing browsers: each is one destination of one person, and goes with whoever logs in there last."""

from urllib.parse import urlsplit
from uuid import UUID

import structlog

from notify.store import keep_person
from notify.webpush import store
from notify.webpush.errors import PushSubscriptionNotFound, TooManyPushSubscriptions
from notify.webpush.store import Registered, Target
from notify.webpush.vapid import DEFAULT_PORTS, origin_of
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

LISTED_MAX = 100
"""As many as the setting for one person allows at most."""


class PushSubscriptions:
    """Keeps, lists and forgets them, with their destinations in the same transaction."""

    def __init__(self, pool: Pool, *, per_user_max: int) -> None:
        self._pool = pool
        self._per_user_max = per_user_max

    async def subscribe(self, caller: Caller, *, endpoint: str, p256dh: bytes, auth: bytes) -> Registered:
        """Keep a browser's subscription for the caller, whosever it was; the same again keeps its keys.

        Raises TooManyPushSubscriptions. Another person's becomes a new destination, so that what is queued for the
        person of before does not reach the one who sits there now.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock(connection, user_id=caller.user_id, endpoint=endpoint)
            owner = await store.find_owner(connection, endpoint)
            if owner is not None and owner[1] == caller.user_id:
                return await store.renew(connection, owner[0], p256dh=p256dh, auth=auth)
            if owner is not None:
                await store.delete(connection, owner[0], user_id=owner[1])
            if await store.count(connection, caller.user_id) >= self._per_user_max:
                limit = self._per_user_max
                raise TooManyPushSubscriptions(f"one person has at most {limit}", subscriptions_max=limit)
            await keep_person(connection, caller.user_id, caller.name)
            target = Target(uuid7(), caller.user_id, endpoint, p256dh, auth)
            kept = await store.insert(connection, target, provider=provider_of(endpoint))
        log.info("push_subscribed", user_id=str(caller.user_id), provider=kept.provider, moved=owner is not None)
        return kept

    async def list_of(self, user_id: UUID) -> list[Registered]:
        """Those of a person, the oldest first."""
        return list(await store.list_of(self._pool, user_id, items_max=LISTED_MAX))

    async def unsubscribe(self, user_id: UUID, destination_id: UUID) -> None:
        """Forget one of a person; raises PushSubscriptionNotFound when it is not theirs."""
        if not await store.delete(self._pool, destination_id, user_id=user_id):
            raise PushSubscriptionNotFound(f"you have no subscription {destination_id}")
        log.info("push_unsubscribed", user_id=str(user_id))


def provider_of(endpoint: str) -> str:
    """Host and port of a push service: what is paused when it asks for that."""
    origin = urlsplit(origin_of(endpoint))
    return origin.netloc if origin.port else f"{origin.netloc}:{DEFAULT_PORTS[origin.scheme]}"
