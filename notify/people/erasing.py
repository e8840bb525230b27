"""What notify erases of a person: what is queued first, follows both ways, and the person last."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final
from uuid import UUID

from notify.announcer import Announcer, PreferencesChange
from notify.store import FIRST_USER_ID, queries
from runtime.erasure import EraseStep
from runtime.postgres import Pool

FOLLOWERS_PER_BATCH_MAX: Final = 200
FOLLOWS_PER_BATCH_MAX: Final = 200
ROWS_PER_BATCH_MAX: Final = 2_000
NOTICES_PER_LOOK_MAX: Final = 20_000
ENDPOINTS_PER_LOOK_MAX: Final = 20


class PersonErasing:
    """The steps, in the order in which they are done."""

    def __init__(self, pool: Pool, announcer: Announcer) -> None:
        self._pool = pool
        self._announcer = announcer

    @property
    def steps(self) -> Sequence[EraseStep]:
        """For the worker."""
        return (
            self.erase_follows,
            self.erase_followers,
            self.erase_told,
            self.erase_fanouts,
            self.erase_webhooks,
            self.erase_from_webhooks,
            self.erase_inbox,
            self.erase_person,
        )

    async def erase_follows(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Whom they follow; the counts of these channels go down with it, and whoever is connected hears no more."""
        while await queries.erase_follows(self._pool, user_id=user_id, rows_max=FOLLOWS_PER_BATCH_MAX):
            yield
        await self._announcer.preferences_changed(PreferencesChange(user_id=user_id))

    async def erase_followers(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Who follows them, with what these were told."""
        await queries.cancel_fanouts_of(self._pool, user_id=user_id)
        while await queries.erase_followers(self._pool, user_id=user_id, rows_max=FOLLOWERS_PER_BATCH_MAX):
            yield

    async def erase_told(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """What those who followed once were told: without the fan-outs nobody could tell which notices these are."""
        after: UUID | None = FIRST_USER_ID
        while after is not None:
            after = await queries.erase_told(
                self._pool, user_id=user_id, after_user_id=after, rows_max=NOTICES_PER_LOOK_MAX
            )
            yield

    async def erase_fanouts(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """What is queued or was given up on, then their fan-outs."""
        while await queries.erase_fanouts(self._pool, user_id=user_id, rows_max=ROWS_PER_BATCH_MAX):
            yield

    async def erase_webhooks(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """The log of their webhooks; the endpoints and their secrets go with the person's destinations."""
        while await queries.erase_webhook_log(self._pool, user_id=user_id, rows_max=ROWS_PER_BATCH_MAX):
            yield

    async def erase_from_webhooks(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """What webhooks of others were told of them: that they follow, what they said."""
        after: UUID | None = FIRST_USER_ID
        while after is not None:
            after = await queries.erase_from_webhooks(
                self._pool, user_id=user_id, after_endpoint_id=after, endpoints_max=ENDPOINTS_PER_LOOK_MAX
            )
            yield

    async def erase_inbox(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """What they were told."""
        while await queries.erase_notices(self._pool, user_id=user_id, rows_max=ROWS_PER_BATCH_MAX):
            yield

    async def erase_person(self, user_id: UUID) -> AsyncGenerator[None, None]:
        """Preferences, addresses, tokens, secrets, blocks, counts and the name."""
        await queries.erase_person(self._pool, user_id=user_id)
        yield
