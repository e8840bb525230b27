"""What the APIs of webhooks work with, where webhooks are on."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from notify.webhooks.endpoints import Endpoint, Endpoints
from notify.webhooks.intake import WebhookIntake
from notify.webhooks.messages import MessageLog
from runtime.postgres import Pool


@dataclass(frozen=True)
class Webhooks:
    """Endpoints, the log, and testing."""

    pool: Pool
    endpoints: Endpoints
    log: MessageLog
    intake: WebhookIntake
    wake: Callable[[], None]
    """Has the worker of this process look for what was queued."""

    async def test(self, endpoint: Endpoint) -> UUID:
        """Queue a test; the id of its message. Raises WebhookDisabled, TooManyTests."""
        message_id = await self.intake.test(self.pool, endpoint)
        self.wake()
        return message_id
