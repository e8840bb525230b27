"""Signing keys: made at the first start, sealed in the database, their public halves published as a JWK Set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, OKPKey

from accounts.errors import SigningKeyUnreadable
from runtime.postgres import Pool, load_queries
from runtime.tokens import ALGORITHM

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

SEALING = {"alg": "dir", "enc": "A256GCM"}  # RFC 7518 §4.5, §5.3: the secret is the key, the nonce is random
RETIRED_KEYS_SHOWN = timedelta(hours=2)  # longer than any access token lives


@dataclass(frozen=True)
class SigningKeys:
    """The key that signs now, and all whose tokens may still be about."""

    current: OKPKey
    current_id: str
    public: Sequence[dict[str, Any]]
    by_id: dict[str, OKPKey]


async def load_signing_keys(pool: Pool, secret: bytes) -> SigningKeys:
    """The keys in the database; the first process ever makes one. Raises SigningKeyUnreadable if `secret` is wrong."""
    retired_after = datetime.now(UTC) - RETIRED_KEYS_SHOWN
    rows = await QUERIES.list_signing_keys(pool, retired_after=retired_after)
    if not any(row["current"] for row in rows):
        await _add_key(pool, secret)
        rows = await QUERIES.list_signing_keys(pool, retired_after=retired_after)
    public = [json.loads(row["public_jwk"]) for row in rows]
    current = next(row for row in rows if row["current"])
    return SigningKeys(
        current=unseal(current["private_sealed"], secret, current["key_id"]),
        current_id=current["key_id"],
        public=public,
        by_id={one["kid"]: OKPKey.import_key(one) for one in public},
    )


def new_key() -> OKPKey:
    """An Ed25519 key whose `kid` is its thumbprint."""
    return OKPKey.generate_key("Ed25519", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)


def seal(key: OKPKey, secret: bytes) -> str:
    """The private key, encrypted and authenticated together with its id."""
    header = {**SEALING, "kid": key.kid}
    plain = json.dumps(key.as_dict(private=True)).encode()
    return jwe.encrypt_compact(header, plain, OctKey.import_key(secret))


def unseal(sealed: str, secret: bytes, key_id: str) -> OKPKey:
    """The key in `sealed`; raises SigningKeyUnreadable when it was sealed with another secret or is another's."""
    try:
        opened = jwe.decrypt_compact(sealed, OctKey.import_key(secret), algorithms=list(SEALING.values()))
        key = OKPKey.import_key(json.loads(opened.plaintext or b""))
    except (JoseError, ValueError) as error:
        raise SigningKeyUnreadable(key_id) from error
    if key.kid != key_id:
        raise SigningKeyUnreadable(key_id)
    return key


async def _add_key(pool: Pool, secret: bytes) -> None:
    key = new_key()
    added = await QUERIES.add_signing_key(
        pool,
        key_id=key.kid,
        public_jwk=json.dumps(key.as_dict(private=False)),
        private_sealed=seal(key, secret),
    )
    if added:
        log.info("signing_key_made", key_id=key.kid)
