"""What the APIs of accounts are built from; `assemble` makes it once for the process."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from accounts.access_tokens import AccessTokens
from accounts.confirming import Confirmation
from accounts.expiry import Expiry
from accounts.key_ring import KeyRing
from accounts.passwords import Passwords
from accounts.profile_cache import ANSWER_SECONDS_MAX, ProfileCache
from accounts.profiles import Profiles
from accounts.sealing import KeyedHash
from accounts.second_factor import SecondFactor
from accounts.sessions import Sessions
from accounts.settings import AccountsSettings
from accounts.store import AccountStore, Names
from accounts.throttle import Throttle
from eventbus.outbox import Outbox
from runtime.client_address import ClientAddresses
from runtime.postgres import Pool
from runtime.service import Service


@dataclass(frozen=True)
class AccountsParts:
    """Adapters that several APIs use."""

    store: AccountStore
    sessions: Sessions
    passwords: Passwords
    tokens: AccessTokens
    ring: KeyRing
    throttle: Throttle
    factor: SecondFactor
    confirmation: Confirmation
    profiles: Profiles
    addresses: ClientAddresses
    services: Sequence[Service]


async def make_parts(
    stack: ExitStack,
    settings: AccountsSettings,
    pool: Pool,
    redis: Redis,
    outbox: Outbox,
    *,
    redis_prefix: str = "",
    cache_seconds_max: float = ANSWER_SECONDS_MAX,
    now: Callable[[], float] = time.time,
) -> AccountsParts:
    """Everything, on a pool and a Redis that others close; ``stack`` closes the rest. Raises SigningKeyUnreadable.

    `redis_prefix` keeps apart those who share a Redis, as tests do. They also bring the clock that codes of the second
    factor go by, and let the cache take longer on a busy machine.
    """
    secret = settings.key_secret()
    ring = KeyRing(
        pool,
        secret,
        lead_seconds=settings.accounts_key_lead_seconds,
        rotation_days=settings.accounts_key_rotation_days,
    )
    await ring.look()
    passwords = Passwords(workers=settings.accounts_password_workers, queue_max=settings.accounts_password_queue_max)
    stack.callback(passwords.close)
    names = Names(rest_days=settings.accounts_name_rest_days, rename_days=settings.accounts_rename_days)
    store = AccountStore(pool, outbox, names=names, hash_name=KeyedHash(secret, "names"))
    throttle = Throttle(pool, secret)
    factor = SecondFactor(pool, secret, throttle, issuer=settings.accounts_totp_issuer, now=now)
    cache = ProfileCache(redis, prefix=f"{redis_prefix}accounts:profile", answer_seconds_max=cache_seconds_max)
    return AccountsParts(
        store=store,
        sessions=Sessions(pool, idle=timedelta(days=settings.accounts_session_idle_days)),
        passwords=passwords,
        tokens=AccessTokens(
            ring, issuer=settings.token_issuer, lifetime_seconds=settings.accounts_access_token_seconds
        ),
        ring=ring,
        throttle=throttle,
        factor=factor,
        confirmation=Confirmation(store, passwords, throttle, factor),
        profiles=Profiles(pool, cache),
        addresses=ClientAddresses(settings.http_trusted_proxies),
        services=[ring, cache, Expiry(pool, session_idle_days=settings.accounts_session_idle_days)],
    )
