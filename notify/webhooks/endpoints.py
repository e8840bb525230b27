"""People's endpoints: making, changing, rotating secrets, enabling and removing; what is secret is sealed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from notify.webhooks.errors import TooManyWebhooks, WebhookNotFound
from notify.webhooks.presets import Preset
from notify.webhooks.sealing import Seal
from notify.webhooks.signing import new_secret
from notify.webhooks.urls import EndpointUrl
from runtime.ids import uuid7
from runtime.postgres import Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("notify")

FORMER_SECRET_SIGNS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secrets."""

    endpoint_id: UUID
    user_id: UUID
    description: str
    preset: str | None
    events: Sequence[str]
    url_shown: str
    has_authorization: bool
    former_secret_until: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_because: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What somebody wants posted, and where."""

    url: EndpointUrl
    events: Sequence[str]
    description: str
    preset: Preset | None
    authorization: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes different; None: stays as it is."""

    url: EndpointUrl | None = None
    events: Sequence[str] | None = None
    description: str | None = None
    authorization: str | None = None


class Places:
    """Where in the database something sealed belongs; it opens nowhere else."""

    @staticmethod
    def url(endpoint_id: UUID) -> str:
        """An endpoint's URL."""
        return f"webhook/{endpoint_id}/url"

    @staticmethod
    def authorization(endpoint_id: UUID) -> str:
        """What it is sent as Authorization."""
        return f"webhook/{endpoint_id}/authorization"

    @staticmethod
    def secret(endpoint_id: UUID) -> str:
        """What signs, now or before the last rotation."""
        return f"webhook/{endpoint_id}/secret"


class Endpoints:
    """Every call names the person: nobody reaches an endpoint of somebody else."""

    def __init__(self, pool: Pool, seal: Seal, *, endpoints_per_user_max: int) -> None:
        self._pool = pool
        self._seal = seal
        self._endpoints_per_user_max = endpoints_per_user_max

    async def create(self, user_id: UUID, wanted: NewEndpoint) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is never shown again; raises TooManyWebhooks."""
        endpoint_id, secret = uuid7(), new_secret()
        async with self._pool.acquire() as connection, connection.transaction():
            await QUERIES.lock_endpoints_of(connection, user_id=user_id)
            if await QUERIES.count_endpoints(connection, user_id=user_id) >= self._endpoints_per_user_max:
                raise TooManyWebhooks(f"one person has at most {self._endpoints_per_user_max} webhooks")
            row = await QUERIES.insert_endpoint(
                connection,
                endpoint_id=endpoint_id,
                user_id=user_id,
                provider=wanted.url.provider,
                description=wanted.description,
                preset=wanted.preset,
                events=list(wanted.events),
                url_shown=wanted.url.shown,
                secret_sealed=self._seal.close(secret, place=Places.secret(endpoint_id)),
                **self._sealed(endpoint_id, wanted.url, wanted.authorization),
            )
        log.info("webhook_created", endpoint_id=str(endpoint_id), user_id=str(user_id), provider=wanted.url.provider)
        return Endpoint(**row), secret

    async def find(self, user_id: UUID, endpoint_id: UUID) -> Endpoint:
        """One of a person's endpoints; raises WebhookNotFound."""
        return _found(await QUERIES.find_endpoint(self._pool, endpoint_id=endpoint_id, user_id=user_id), endpoint_id)

    async def list_of(self, user_id: UUID, *, before: UUID, items_max: int) -> Sequence[Endpoint]:
        """A person's endpoints, the newest first, below an id."""
        rows = await QUERIES.list_endpoints(self._pool, user_id=user_id, before_endpoint_id=before, items_max=items_max)
        return [Endpoint(**row) for row in rows]

    async def change(self, user_id: UUID, endpoint_id: UUID, change: Change) -> Endpoint:
        """Change what is given; raises WebhookNotFound."""
        row = await QUERIES.change_endpoint(
            self._pool,
            endpoint_id=endpoint_id,
            user_id=user_id,
            provider=change.url.provider if change.url else None,
            description=change.description,
            events=None if change.events is None else list(change.events),
            url_shown=change.url.shown if change.url else None,
            **self._sealed(endpoint_id, change.url, change.authorization),
        )
        return _found(row, endpoint_id)

    async def delete(self, user_id: UUID, endpoint_id: UUID) -> None:
        """Remove an endpoint; raises WebhookNotFound."""
        if await QUERIES.delete_endpoint(self._pool, endpoint_id=endpoint_id, user_id=user_id) is None:
            raise _not_found(endpoint_id)
        log.info("webhook_deleted", endpoint_id=str(endpoint_id), user_id=str(user_id))

    async def rotate_secret(self, user_id: UUID, endpoint_id: UUID) -> tuple[str, datetime]:
        """A new secret, and until when the one before signs as well; raises WebhookNotFound."""
        secret = new_secret()
        until = await QUERIES.rotate_secret(
            self._pool,
            endpoint_id=endpoint_id,
            user_id=user_id,
            secret_sealed=self._seal.close(secret, place=Places.secret(endpoint_id)),
            former_secret_until=datetime.now(UTC) + FORMER_SECRET_SIGNS,
        )
        if until is None:
            raise _not_found(endpoint_id)
        log.info("webhook_secret_rotated", endpoint_id=str(endpoint_id), user_id=str(user_id))
        return secret, until

    async def enable(self, user_id: UUID, endpoint_id: UUID) -> Endpoint:
        """Post to it again; raises WebhookNotFound."""
        row = await QUERIES.enable_endpoint(self._pool, endpoint_id=endpoint_id, user_id=user_id)
        endpoint = _found(row, endpoint_id)
        log.info("webhook_enabled", endpoint_id=str(endpoint_id), user_id=str(user_id))
        return endpoint

    def _sealed(self, endpoint_id: UUID, url: EndpointUrl | None, authorization: str | None) -> dict[str, str | None]:
        return {
            "url_sealed": self._seal.close(url.url, place=Places.url(endpoint_id)) if url else None,
            "authorization_sealed": (
                self._seal.close(authorization, place=Places.authorization(endpoint_id)) if authorization else None
            ),
        }


def _found(row: Mapping[str, Any] | None, endpoint_id: UUID) -> Endpoint:
    if row is None:
        raise _not_found(endpoint_id)
    return Endpoint(**row)


def _not_found(endpoint_id: UUID) -> WebhookNotFound:
    return WebhookNotFound(f"you have no webhook {endpoint_id}")
