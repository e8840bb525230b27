"""Time-based one-time passwords (RFC 6238 on RFC 4226), and the recovery codes beside them."""

import base64
import hashlib
import hmac
import secrets
import struct
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
DIGITS = 6
STEPS_ASIDE = 1
"""A clock may be off by a step either way (RFC 6238 §5.2)."""
SECRET_BYTES = 20
"""As long as SHA-1's output (RFC 4226 §4 R6). SHA-1, since it is the one that every app can do."""
RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = 10


def new_secret() -> bytes:
    """A secret for one person's app."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a step (RFC 4226 §5.3)."""
    mac = hmac.digest(secret, struct.pack(">Q", step), hashlib.sha1)
    offset = mac[-1] & 0x0F
    number: int = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: bytes, code: str, now_seconds: float) -> int | None:
    """The step around `now_seconds` (Unix time) that `code` is of, if it is of one; all are compared."""
    present = int(now_seconds) // STEP_SECONDS
    matching = [
        step
        for step in range(present - STEPS_ASIDE, present + STEPS_ASIDE + 1)
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode())
    ]
    return matching[-1] if matching else None


def step_of_pair(secret: bytes, pair: str, now_seconds: float) -> int | None:
    """The step that the second of two codes is of, if it is of one around now and the first of the step before it."""
    first, second = pair_of(pair) or ("", "")
    step = step_of(secret, second, now_seconds)
    if step is None or not hmac.compare_digest(code_at(secret, step - 1).encode(), first.encode()):
        return None
    return step


def pair_of(text: str) -> tuple[str, str] | None:
    """The two codes in a text that has the form of two; spaces do not count."""
    plain = "".join(text.split())
    first, second = plain[:DIGITS], plain[DIGITS:]
    return (first, second) if is_totp_code(first) and is_totp_code(second) else None


def is_totp_code(text: str) -> bool:
    """Whether a text has the form of a code, and is no recovery code."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()


def base32(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, *, issuer: str, username: str) -> str:
    """What an app reads from a QR code (the Key Uri Format of Google Authenticator's wiki)."""
    parameters = {"secret": base32(secret), "issuer": issuer, "digits": DIGITS, "period": STEP_SECONDS}
    return f"otpauth://totp/{quote(issuer)}:{quote(username)}?{urlencode(parameters, quote_via=quote)}"


def new_recovery_codes() -> list[str]:
    """Codes to be kept on paper, each with 80 random bits, in groups of four."""
    plain = [base64.b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    return ["-".join(code[place : place + 4] for place in range(0, len(code), 4)) for code in plain]


def recovery_hash(code: str) -> bytes:
    """How a recovery code is stored; spaces, dashes and capitals do not count."""
    return hashlib.sha256("".join(code.split()).replace("-", "").lower().encode()).digest()
