"""The secrets of one local stack: random, made once, readable by its owner only."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Private keys are the numbers from 1 to below it (SEC 2, section 2.4.2).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Credentials:
    """Passwords and keys of the engines and services; never printed, never in a command line."""

    postgres_password: str
    redis_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    accounts_key_secret: str
    ingest_secret: str
    vapid_private_key: str
    sealing_secret: str
    playback_secret: str
    viewer_secret: str


def make() -> Credentials:
    """New ones, from the operating system's randomness."""
    return Credentials(
        postgres_password=secrets.token_urlsafe(24),
        redis_password=secrets.token_urlsafe(24),
        s3_access_key_id=secrets.token_hex(10),
        s3_secret_access_key=secrets.token_urlsafe(30),
        accounts_key_secret=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
        ingest_secret=secrets.token_urlsafe(24),
        vapid_private_key=p256_private_key(),
        sealing_secret=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
        playback_secret=secrets.token_urlsafe(32),
        viewer_secret=secrets.token_urlsafe(32),
    )


def p256_private_key() -> str:
    """A new private key of the curve P-256: its scalar, 32 bytes in base64url without padding."""
    scalar = 1 + secrets.randbelow(P256_ORDER - 1)
    return base64.urlsafe_b64encode(scalar.to_bytes(32, "big")).decode().rstrip("=")


def of_settings(settings: Mapping[str, str]) -> Credentials:
    """Those that the LIVESTREAM_* settings of a server name: its engines get what its services were told."""

    def password(variable: str) -> str:
        return unquote(urlsplit(settings.get(variable, "")).password or "")

    return Credentials(
        postgres_password=password("LIVESTREAM_POSTGRES_DSN"),
        redis_password=password("LIVESTREAM_REDIS_URL"),
        s3_access_key_id=settings.get("LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID", ""),
        s3_secret_access_key=settings.get("LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY", ""),
        accounts_key_secret=settings.get("LIVESTREAM_ACCOUNTS_KEY_SECRET", ""),
        ingest_secret=settings.get("LIVESTREAM_STREAMING_INGEST_SECRET", ""),
        vapid_private_key=settings.get("LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY", ""),
        sealing_secret=settings.get("LIVESTREAM_NOTIFY_SEALING_SECRET", ""),
        playback_secret=settings.get("LIVESTREAM_STREAMING_PLAYBACK_SECRET", ""),
        viewer_secret=settings.get("LIVESTREAM_STREAMING_VIEWER_SECRET", ""),
    )


def load_or_make(path: Path) -> Credentials:
    """Read the stack's secrets, making those that the file does not have yet (a later version may need more)."""
    # Processes that find none at the same moment must not go on with different ones.
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        credentials = Credentials(**{name: known.get(name, value) for name, value in asdict(make()).items()})
        if asdict(credentials) != known:
            write_private(path, json.dumps(asdict(credentials), indent=2) + "\n")
    return credentials


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read; it is never readable by others in between."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
