"""People's mail addresses: asked for, verified by the mail that only their owner gets, and forgotten."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

import structlog

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from notify.mail import metrics, store
from notify.mail.addresses import address_key
from notify.mail.channel import VERIFICATION_HOURS, token_hash
from notify.mail.contents import VerificationContent
from notify.mail.errors import TooManyMails, VerificationNotFound
from notify.mail.store import queries
from notify.store import keep_person
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)


class Mailboxes:
    """Changes addresses; nothing is sent to one before its owner has said that it is theirs.

    `provider` is the SMTP server. `queued` is called when a mail waits for the transactional lane of this process.
    """

    def __init__(self, pool: Pool, *, provider: str, requests_per_hour_max: int, queued: Callable[[], None]) -> None:
        self._pool = pool
        self._provider = provider
        self._requests_max = requests_per_hour_max
        self._queued = queued

    async def request(self, caller: Caller, address: str) -> None:
        """Send a mail that verifies an address; the one that is verified stays until then. Raises TooManyMails."""
        key = address_key(address)
        async with self._pool.acquire() as connection, connection.transaction():
            await queries.lock_mail(connection, keys=[_lock_of(caller.user_id), f"address/{key}"])
            await keep_person(connection, caller.user_id, caller.name)
            verified = await store.find_mailbox(connection, caller.user_id)
            if verified is not None and verified.address == address:
                await queries.delete_verification(connection, user_id=caller.user_id)
                return
            await self._count_request(connection, caller.user_id, key)
            await self._begin(connection, caller.user_id, address)
        metrics.verifications_requested.labels("queued").inc()
        log.info("mail_verification_requested", user_id=str(caller.user_id))
        self._queued()

    async def _count_request(self, connection: Connection, user_id: UUID, key: str) -> None:
        found = await queries.find_recent_requests(
            connection, user_id=user_id, address_key=key, requests_max=self._requests_max
        )
        since = [one for one in (found["of_person_since"], found["to_address_since"]) if one is not None]
        if since:
            metrics.verifications_requested.labels("limited").inc()
            wait = max(since) + HOUR - found["asked_at"]
            raise TooManyMails(
                f"at most {self._requests_max} such mails an hour, by one person and to one address",
                retry_after_seconds=max(1, ceil(wait.total_seconds())),
                requests_per_hour_max=self._requests_max,
            )
        await queries.insert_mail_request(connection, user_id=user_id, address_key=key)

    async def _begin(self, connection: Connection, user_id: UUID, address: str) -> None:
        verification_id = uuid7()
        expires_at = datetime.now(UTC) + timedelta(hours=VERIFICATION_HOURS)
        await queries.delete_verification(connection, user_id=user_id)
        await queries.insert_verification(
            connection, verification_id=verification_id, user_id=user_id, address=address, expires_at=expires_at
        )
        delivery = NewDelivery(
            channel=ChannelName.EMAIL,
            lane=Lane.TRANSACTIONAL,
            source_id=user_id,
            message_id=verification_id,
            user_id=user_id,
            destination_id=verification_id,
            provider=transactional_provider(self._provider),
            expires_at=expires_at,
            content=VerificationContent().as_json(),
        )
        await enqueue(connection, [delivery])

    async def verify(self, token: str) -> str:
        """The address of the token that was mailed to it: from now on notices go there. Raises VerificationNotFound."""
        async with self._pool.acquire() as connection, connection.transaction():
            # the person first, as everybody else does it; who has no verification any more after that is not found
            person = await queries.find_token_person(connection, token_hash=token_hash(token))
            if person is not None:
                await queries.lock_mail(connection, keys=[_lock_of(person)])
            found = await queries.use_verification_token(connection, token_hash=token_hash(token))
            if found is None:
                raise VerificationNotFound("this link was used, has expired, or another address was asked for since")
            user_id: UUID = found["user_id"]
            address: str = found["address"]
            destination_id = uuid7()
            await queries.delete_mail_destinations(connection, user_id=user_id)
            await queries.insert_mail_destination(
                connection, destination_id=destination_id, user_id=user_id, provider=self._provider
            )
            await queries.insert_mailbox(connection, destination_id=destination_id, user_id=user_id, address=address)
        log.info("mail_address_verified", user_id=str(user_id))
        return address


async def forget_addresses(pool: Pool, user_id: UUID) -> None:
    """Keep no address of a person, verified or not."""
    async with pool.acquire() as connection, connection.transaction():
        await queries.lock_mail(connection, keys=[_lock_of(user_id)])
        await queries.delete_verification(connection, user_id=user_id)
        await queries.delete_mail_destinations(connection, user_id=user_id)
    log.info("mail_address_forgotten", user_id=str(user_id))


def transactional_provider(provider: str) -> str:
    """The SMTP server as the transactional lane names it.

    It is paused by itself: when the server wants fewer notices, somebody who waits for a mail is not told to wait too.
    """
    return f"{provider}/transactional"


def _lock_of(user_id: UUID) -> str:
    return f"person/{user_id}"
