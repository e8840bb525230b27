"""Access tokens: short-lived EdDSA (Ed25519) JWTs that every service verifies by itself."""

import time
from uuid import UUID

from joserfc import jwt

from accounts.key_ring import KeyRing
from accounts.store import User
from runtime.ids import uuid7
from runtime.tokens import ALGORITHM, Caller, InvalidToken, token_key_id, verify_with


class AccessTokens:
    """Signs access tokens with the current key; also a Verifier, since the keys are at hand here."""

    def __init__(self, ring: KeyRing, *, issuer: str, lifetime_seconds: int) -> None:
        self._ring = ring
        self._issuer = issuer
        self.lifetime_seconds = lifetime_seconds

    def issue(self, user: User, session_id: UUID) -> str:
        """A token that says who this is for `lifetime_seconds` from now."""
        now = int(time.time())
        claims: dict[str, str | int | bool] = {
            "iss": self._issuer,
            "sub": str(user.user_id),
            "name": user.username,
            "sid": str(session_id),
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": str(uuid7()),
        }
        if user.is_operator:
            claims["operator"] = True
        key = self._ring.current
        assert key.private is not None  # noqa: S101  the current key is one that can sign
        return jwt.encode({"alg": ALGORITHM, "kid": key.key_id}, claims, key.private, algorithms=[ALGORITHM])

    async def verify(self, token: str) -> Caller:
        """The caller whose token this is; raises InvalidToken."""
        key = await self._ring.find(token_key_id(token))
        if key is None:
            raise InvalidToken("it is signed with a key that is not ours")
        return verify_with(key, token, self._issuer)
