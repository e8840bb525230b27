"""Encrypts a push message for one browser: RFC 8291, on the coding aes128gcm of RFC 8188.

A fresh key and a fresh salt for each message, as section 3.1 of RFC 8291 and section 2.1 of RFC 8188 want it: nothing
is kept between two of them.
"""

import hmac
import os
import struct

from cryptography.hazmat.primitives.asymmetric.ec import ECDH, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notify.webpush.keys import CURVE, POINT_BYTES, public_key, public_point

RECORD_BYTES = 4_096
"""What every push service takes at least (RFC 8030, section 7.2); one record, so also the record size."""
SALT_BYTES = 16
HEADER_BYTES = SALT_BYTES + 4 + 1 + POINT_BYTES
"""Salt, record size, length of the key id, and our public key as that id (RFC 8188, section 2.1)."""
TAG_BYTES = 16
LAST_RECORD = b"\x02"
"""Ends the text of the last record (RFC 8188, section 2)."""
PAYLOAD_BYTES_MAX = RECORD_BYTES - HEADER_BYTES - TAG_BYTES - len(LAST_RECORD)

# RFC 8188, sections 2.2 and 2.3; RFC 8291, section 3.4. The trailing 1 numbers the only block that HKDF needs here.
KEY_INFO = b"Content-Encoding: aes128gcm\x00\x01"
NONCE_INFO = b"Content-Encoding: nonce\x00\x01"
SECRET_INFO = b"WebPush: info\x00"
KEY_BYTES = 16
NONCE_BYTES = 12


def encrypt(payload: bytes, *, p256dh: bytes, auth: bytes) -> bytes:
    """The body of a push request: `payload` for the browser with this key (65 bytes) and secret (16 bytes).

    Raises ValueError when the payload has more than `PAYLOAD_BYTES_MAX` bytes or the key is none of P-256.
    """
    return encrypt_with(payload, p256dh=p256dh, auth=auth, salt=os.urandom(SALT_BYTES), key=generate_private_key(CURVE))


def encrypt_with(payload: bytes, *, p256dh: bytes, auth: bytes, salt: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """As `encrypt`, with a salt and a key that are given; for the example of RFC 8291."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a push message has at most {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
    own = public_point(key)
    secret = _hmac(_hmac(auth, key.exchange(ECDH(), public_key(p256dh))), SECRET_INFO + p256dh + own + b"\x01")
    extracted = _hmac(salt, secret)
    sealing = AESGCM(_hmac(extracted, KEY_INFO)[:KEY_BYTES])
    nonce = _hmac(extracted, NONCE_INFO)[:NONCE_BYTES]
    header = salt + struct.pack("!LB", RECORD_BYTES, POINT_BYTES) + own
    return header + sealing.encrypt(nonce, payload + LAST_RECORD, None)


def _hmac(key: bytes, message: bytes) -> bytes:
    """Both halves of HKDF (RFC 5869) for one block: extracting, and expanding a message that ends with 1."""
    return hmac.digest(key, message, "sha256")
