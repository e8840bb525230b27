"""Tokens that turn off the mail to one mailbox, and can do nothing else; they need no login (RFC 8058)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from uuid import UUID

from runtime.postgres import Pool, load_queries

queries = load_queries("notify")

KEY_BYTES = 32
TOKEN_CHARACTERS = 64
_PURPOSE = b"livestream mail unsubscribe v1"


class UnsubscribeTokens:
    """Makes and reads the tokens: a mailbox's id, signed. They are in mails that are kept for years, so they last."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, destination_id: UUID) -> str:
        """The token of a mailbox, always the same: 64 characters that need no escaping in a URL."""
        return base64.urlsafe_b64encode(destination_id.bytes + self._signature(destination_id.bytes)).decode()

    def read(self, token: str) -> UUID | None:
        """Whose token it is; None: not one of ours."""
        if len(token) != TOKEN_CHARACTERS:
            return None
        try:
            content = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        named, signature = content[:16], content[16:]
        return UUID(bytes=named) if hmac.compare_digest(signature, self._signature(named)) else None

    def _signature(self, content: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE + content, hashlib.sha256).digest()


class UnsubscribeKey:
    """The key of this installation, which the first process ever makes; it is part of the database and its backups."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tokens: UnsubscribeTokens | None = None

    async def tokens(self) -> UnsubscribeTokens:
        """What makes and reads tokens; asks the database once."""
        if self._tokens is None:
            await queries.keep_mail_key(self._pool, key=secrets.token_bytes(KEY_BYTES))
            key: bytes = await queries.find_mail_key(self._pool)
            self._tokens = UnsubscribeTokens(key)
        return self._tokens
