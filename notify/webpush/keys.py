"""The P-256 keys of Web Push: our own for VAPID, and those that browsers give with their subscriptions."""

import base64
import binascii
import re

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
CURVE = SECP256R1()
SCALAR_BYTES = 32
POINT_BYTES = 65
"""An uncompressed point (SEC 1, section 2.3.3): 4, then both coordinates."""
UNCOMPRESSED = 4
AUTH_BYTES = 16
"""The authentication secret of a subscription (RFC 8291, section 3.2)."""


def decode_base64url(text: str) -> bytes:
    """The bytes of base64url with or without padding; raises ValueError for anything else, spaces included."""
    stripped = text.rstrip("=")
    if not BASE64URL.fullmatch(stripped):  # the decoder would take + and / as well
        raise ValueError("must be base64url")
    try:
        return base64.urlsafe_b64decode(stripped + "=" * (-len(stripped) % 4))
    except binascii.Error:
        raise ValueError("must be base64url") from None


def encode_base64url(octets: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def private_key(text: str) -> EllipticCurvePrivateKey:
    """The key of a private scalar in base64url; raises ValueError, which never repeats the text."""
    scalar = decode_base64url(text.strip())
    if len(scalar) != SCALAR_BYTES:
        raise ValueError(f"must be {SCALAR_BYTES} bytes in base64url")
    try:
        return derive_private_key(int.from_bytes(scalar), CURVE)
    except ValueError:
        raise ValueError("is no private key of P-256: a number from 1 to below the order of the curve") from None


def public_point(key: EllipticCurvePrivateKey) -> bytes:
    """The public key as an uncompressed point, 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_key(point: bytes) -> EllipticCurvePublicKey:
    """The key of an uncompressed point; raises ValueError when that is none, or not on the curve."""
    if len(point) != POINT_BYTES or point[0] != UNCOMPRESSED:
        raise ValueError(f"must be {POINT_BYTES} bytes, an uncompressed point of P-256")
    try:
        return EllipticCurvePublicKey.from_encoded_point(CURVE, point)
    except ValueError:
        raise ValueError("is not a point of P-256") from None
