"""Sealing: what must be read back but never by whoever has the database alone; and hashes that need the key.

Everything hangs on LIVESTREAM_ACCOUNTS_KEY_SECRET. What is sealed is bound to what it belongs to, so that two rows
cannot be exchanged.
"""

import hashlib
import hmac

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from accounts.errors import SealBroken

SEALING = {"alg": "dir", "enc": "A256GCM"}  # RFC 7518 §4.5, §5.3: the secret is the key, the nonce is random


def seal(plain: bytes, secret: bytes, owner: str) -> str:
    """A compact JWE of `plain`, authenticated together with whose it is."""
    return jwe.encrypt_compact({**SEALING, "kid": owner}, plain, OctKey.import_key(secret))


def unseal(sealed: str, secret: bytes, owner: str) -> bytes:
    """What was sealed; raises SealBroken when it was with another secret, or for another owner."""
    try:
        opened = jwe.decrypt_compact(sealed, OctKey.import_key(secret), algorithms=list(SEALING.values()))
    except (JoseError, ValueError) as error:
        raise SealBroken(owner) from error
    if opened.headers().get("kid") != owner:
        raise SealBroken(owner)
    return opened.plaintext or b""


class KeyedHash:
    """HMAC-SHA256 under a key of its own for each purpose: without the secret nobody can try names or addresses."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._key = hmac.digest(secret, f"livestream accounts {purpose}".encode(), hashlib.sha256)

    def __call__(self, text: str) -> bytes:
        """32 bytes."""
        return hmac.digest(self._key, text.encode(), hashlib.sha256)
