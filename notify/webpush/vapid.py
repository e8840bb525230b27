"""Says to push services who sends: VAPID (RFC 8292), one signed token per service and half a day."""

import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey

from notify.webpush.keys import encode_base64url, public_point

TOKEN_SECONDS = 12 * 3600
"""RFC 8292, section 2: at most 24 hours from when it is received, by the clock of the push service."""
RENEW_SECONDS_BEFORE = 3600
ORIGINS_MAX = 1_000
DEFAULT_PORTS = {"https": 443, "http": 80}


class Vapid:
    """The key of this installation, and the header it signs for each push service."""

    def __init__(
        self, key: EllipticCurvePrivateKey, subject: str | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = ECKey.import_key(key)
        self._subject = subject
        self._clock = clock
        self._signed: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.public_key = encode_base64url(public_point(key))
        """What a browser subscribes with (`applicationServerKey`), base64url."""

    def authorization(self, endpoint: str) -> str:
        """The Authorization header for a push service, signed anew an hour before the last one ends."""
        origin = origin_of(endpoint)
        header, ends_at = self._signed.get(origin, ("", 0.0))
        now = self._clock()
        if ends_at - now > RENEW_SECONDS_BEFORE:
            self._signed.move_to_end(origin)
            return header
        header = self._sign(origin, int(now) + TOKEN_SECONDS)
        self._signed[origin] = (header, now + TOKEN_SECONDS)
        self._signed.move_to_end(origin)
        if len(self._signed) > ORIGINS_MAX:
            self._signed.popitem(last=False)
        return header

    def _sign(self, origin: str, ends_at: int) -> str:
        claims: dict[str, str | int] = {"aud": origin, "exp": ends_at}
        if self._subject is not None:
            claims["sub"] = self._subject
        token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._key, algorithms=["ES256"])
        return f"vapid t={token}, k={self.public_key}"


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454, section 6.2); raises ValueError for a port that is none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{parts.scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}")
