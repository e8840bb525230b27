"""Signing keys: made at the first start, sealed in the database, their public halves published as a JWK Set.

A key is published for a while before it signs, and until all its tokens have expired: whoever verifies with keys
fetched some time ago always has the one he needs.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from joserfc.jwk import OKPKey

from accounts.errors import SealBroken, SigningKeyUnreadable
from accounts.sealing import seal, unseal
from runtime.postgres import Connection, Pool, load_queries
from runtime.tokens import ALGORITHM

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

RETIRED_SECONDS_MAX = 7_200.0
"""How long a key that signs no more is published: longer than any access token lives."""


@dataclass(frozen=True)
class SigningKey:
    """One key. `signs_at` is on the clock of the event loop: those of two machines need not agree."""

    key_id: str
    public: Mapping[str, Any]
    verifying: OKPKey
    private: OKPKey | None
    """None: it has retired."""
    signs_at: float
    age_seconds: float
    is_newest: bool


@dataclass(frozen=True)
class SigningKeys:
    """The keys whose signatures count, the newest first."""

    keys: Sequence[SigningKey]

    @property
    def current(self) -> SigningKey:
        """The key that signs now."""
        now = asyncio.get_running_loop().time()
        able = [key for key in self.keys if key.private is not None]
        return next((key for key in able if key.signs_at <= now), able[-1])

    @property
    def current_id(self) -> str:
        """Its id."""
        return self.current.key_id

    @property
    def public(self) -> list[Mapping[str, Any]]:
        """The public halves, the current one's first."""
        current = self.current_id
        return [key.public for key in sorted(self.keys, key=lambda key: key.key_id != current)]

    def find(self, key_id: str) -> OKPKey | None:
        """The public half of the key with this id."""
        return next((key.verifying for key in self.keys if key.key_id == key_id), None)


@dataclass(frozen=True)
class Rotation:
    """A key that was added, and in how many seconds it begins to sign."""

    key_id: str
    signs_in_seconds: float


@dataclass(frozen=True)
class KeyState:
    """A published key as operators see it: `next`, `current` or `retired`."""

    key_id: str
    state: str
    signs_from: datetime

    def as_json(self) -> dict[str, str]:
        """For programs."""
        return {"key_id": self.key_id, "state": self.state, "signs_from": self.signs_from.isoformat()}


async def list_keys(pool: Pool) -> list[KeyState]:
    """The keys that are published, the newest first."""
    rows = await QUERIES.list_signing_keys(pool, retired_seconds_max=RETIRED_SECONDS_MAX)
    current = next((row["key_id"] for row in rows if row["signs_in_seconds"] <= 0), None)
    states = []
    for row in rows:
        state = "next" if row["signs_in_seconds"] > 0 else "current" if row["key_id"] == current else "retired"
        states.append(KeyState(row["key_id"], state, row["signs_from"]))
    return states


async def load_signing_keys(pool: Pool, secret: bytes) -> SigningKeys:
    """The keys in the database; the first process ever makes one. Raises SigningKeyUnreadable if `secret` is wrong."""
    rows = await QUERIES.list_signing_keys(pool, retired_seconds_max=RETIRED_SECONDS_MAX)
    if not any(row["retired_at"] is None for row in rows):
        await _add_key(pool, secret, lead_seconds=0.0)
        rows = await QUERIES.list_signing_keys(pool, retired_seconds_max=RETIRED_SECONDS_MAX)
    return _read(rows, secret)


async def rotate_keys(pool: Pool, secret: bytes, *, lead_seconds: float) -> Rotation | None:
    """Publish a new key, which signs after `lead_seconds`; until then the present one does.

    None: a new key is waiting for its turn already. Raises SigningKeyUnreadable if `secret` is not the one of the
    present keys, since processes could not read the new one.
    """
    await load_signing_keys(pool, secret)
    async with pool.acquire() as connection, connection.transaction():
        if await QUERIES.retire_newest_key(connection, lead_seconds=lead_seconds) is None:
            return None
        key_id = await _add_key(connection, secret, lead_seconds=lead_seconds)
    log.info("signing_keys_rotated", key_id=key_id, lead_seconds=lead_seconds)
    return Rotation(key_id, lead_seconds)


async def replace_leaked_keys(pool: Pool, secret: bytes) -> Rotation:
    """Forget every key and sign with a new one at once: no access token of before counts any more."""
    async with pool.acquire() as connection, connection.transaction():
        forgotten = await QUERIES.delete_all_signing_keys(connection)
        key_id = await _add_key(connection, secret, lead_seconds=0.0)
    log.warning("signing_keys_replaced", key_id=key_id, forgotten=forgotten)
    return Rotation(key_id, 0.0)


def new_key() -> OKPKey:
    """An Ed25519 key whose `kid` is its thumbprint."""
    return OKPKey.generate_key("Ed25519", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)


def _read(rows: Sequence[Mapping[str, Any]], secret: bytes) -> SigningKeys:
    now = asyncio.get_running_loop().time()
    keys = []
    for place, row in enumerate(rows):
        public = json.loads(row["public_jwk"])
        # The one before the newest still signs while that one waits; those before have retired for good.
        may_sign = row["retired_at"] is None or (place == 1 and rows[0]["signs_in_seconds"] > 0)
        keys.append(
            SigningKey(
                key_id=row["key_id"],
                public=public,
                verifying=OKPKey.import_key(public),
                private=_private(row["private_sealed"], secret, row["key_id"]) if may_sign else None,
                signs_at=now + row["signs_in_seconds"],
                age_seconds=row["age_seconds"],
                is_newest=row["retired_at"] is None,
            )
        )
    return SigningKeys(keys)


def _private(sealed: str, secret: bytes, key_id: str) -> OKPKey:
    try:
        key = OKPKey.import_key(json.loads(unseal(sealed, secret, key_id)))
    except (SealBroken, ValueError) as error:
        raise SigningKeyUnreadable(key_id) from error
    if key.kid != key_id:
        raise SigningKeyUnreadable(key_id)
    return key


async def _add_key(connection: Pool | Connection, secret: bytes, *, lead_seconds: float) -> str:
    key = new_key()
    key_id = str(key.kid)
    added = await QUERIES.add_signing_key(
        connection,
        key_id=key_id,
        public_jwk=json.dumps(key.as_dict(private=False)),
        private_sealed=seal(json.dumps(key.as_dict(private=True)).encode(), secret, key_id),
        lead_seconds=lead_seconds,
    )
    if added:
        log.info("signing_key_made", key_id=key_id)
    return key_id
