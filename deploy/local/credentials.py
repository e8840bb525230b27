"""The secrets of one local stack: random, made once, readable by its owner only."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """Passwords and keys of the engines and services; never printed, never in a command line."""

    postgres_password: str
    redis_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    accounts_key_secret: str
    ingest_secret: str


def load_or_make(path: Path) -> Credentials:
    """Read the stack's secrets, making those that the file does not have yet (a later version may need more)."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    made = {
        "postgres_password": secrets.token_urlsafe(24),
        "redis_password": secrets.token_urlsafe(24),
        "s3_access_key_id": secrets.token_hex(10),
        "s3_secret_access_key": secrets.token_urlsafe(30),
        "accounts_key_secret": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
        "ingest_secret": secrets.token_urlsafe(24),
    }
    credentials = Credentials(**{name: known.get(name, value) for name, value in made.items()})
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
