"""Seals what others must not read, bound to the place where it belongs, and opens it again."""

from functools import lru_cache

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

SEALING = {"alg": "dir", "enc": "A256GCM"}  # RFC 7518 §4.5, §5.3: the secret is the key, the nonce is random
OPENED_MAX = 4_096
"""Texts kept open in memory, so that not every delivery decrypts again."""


class Unreadable(Exception):
    """It was sealed with another LIVESTREAM_NOTIFY_SEALING_SECRET, or for another place than `place`."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place} was sealed with another LIVESTREAM_NOTIFY_SEALING_SECRET, or is not its own")
        self.place = place


class Seal:
    """Encrypts and authenticates texts with one secret of 32 bytes; what is encrypted names its place."""

    def __init__(self, secret: bytes) -> None:
        self._key = OctKey.import_key(secret)
        self._opened = lru_cache(maxsize=OPENED_MAX)(self._open)

    def close(self, text: str, *, place: str) -> str:
        """The text as a compact JWE that opens at the same place alone (it is the protected header's `kid`)."""
        return jwe.encrypt_compact({**SEALING, "kid": place}, text.encode(), self._key)

    def open(self, sealed: str, *, place: str) -> str:
        """What `close` was given; raises Unreadable."""
        return self._opened(sealed, place)

    def _open(self, sealed: str, place: str) -> str:
        try:
            opened = jwe.decrypt_compact(sealed, self._key, algorithms=list(SEALING.values()))
            text = (opened.plaintext or b"").decode()
        except (JoseError, ValueError) as error:
            raise Unreadable(place) from error
        if opened.headers().get("kid") != place:
            raise Unreadable(place)
        return text
