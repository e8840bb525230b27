"""Access tokens: short-lived EdDSA (Ed25519) JWTs that every service verifies by itself."""

import time
from uuid import UUID

from joserfc import jwt

from accounts.keys import SigningKeys
from runtime.ids import uuid7
from runtime.tokens import ALGORITHM, Caller, InvalidToken, token_key_id, verify_with


class AccessTokens:
    """Signs access tokens with the current key; also a Verifier, since the keys are at hand here."""

    def __init__(self, keys: SigningKeys, *, issuer: str, lifetime_seconds: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self.lifetime_seconds = lifetime_seconds

    def issue(self, user_id: UUID, username: str) -> str:
        """A token that says who this is for `lifetime_seconds` from now."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "sub": str(user_id),
            "name": username,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": str(uuid7()),
        }
        header = {"alg": ALGORITHM, "kid": self._keys.current_id}
        return jwt.encode(header, claims, self._keys.current, algorithms=[ALGORITHM])

    async def verify(self, token: str) -> Caller:
        """The caller whose token this is; raises InvalidToken."""
        key = self._keys.by_id.get(token_key_id(token))
        if key is None:
            raise InvalidToken("it is signed with a key that is not ours")
        return verify_with(key, token, self._issuer)
