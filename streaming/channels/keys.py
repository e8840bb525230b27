"""Stream keys: made from 256 random bits, shown once, kept as a SHA-256 digest.

A fast digest is right here: with 256 random bits there is nothing to guess. A key is found by looking its digest up in
an index, so no comparison's duration says how much of a guess was right.
"""

import hashlib
import secrets
from typing import Final

PREFIX: Final = "sk_"
RANDOM_BYTES: Final = 32


def make_key() -> str:
    """A new stream key: `sk_` and 43 URL-safe characters that hold 256 random bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest(key: str) -> bytes:
    """The 32 bytes that are kept of a key."""
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).digest()
