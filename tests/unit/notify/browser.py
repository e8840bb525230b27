"""A browser that has subscribed: its keys, and its reading of what comes, by another implementation than ours."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, generate_private_key

from notify.webpush.keys import CURVE, encode_base64url, public_point


@dataclass(frozen=True)
class Browser:
    """The receiving end: a key pair and a secret of its own."""

    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(CURVE))
    auth: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def p256dh(self) -> bytes:
        """Its public key, 65 bytes."""
        return public_point(self.key)

    def subscription(self, endpoint: str) -> dict[str, Any]:
        """As `PushSubscription.toJSON()` gives it."""
        keys = {"p256dh": encode_base64url(self.p256dh), "auth": encode_base64url(self.auth)}
        return {"endpoint": endpoint, "expirationTime": None, "keys": keys}

    def decrypt(self, body: bytes) -> bytes:
        """The text of a push message; raises http_ece.ECEException when it is not for this browser."""
        text: bytes = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")
        return text

    def read(self, body: bytes) -> dict[str, Any]:
        """What its service worker is given."""
        message: dict[str, Any] = json.loads(self.decrypt(body))
        return message
