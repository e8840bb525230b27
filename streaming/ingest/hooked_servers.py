"""Who may ask: media servers by the secret in the address of their hooks, of which each may have several at once."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
from pydantic import SecretStr

from streaming.errors import WrongSecret
from streaming.ingest.commands import Dialect

log = structlog.get_logger(__name__)

SECRETS_MAX: Final = 8
SECRET_CHARACTERS_MIN: Final = 16
# It stands in an address, so it needs no quoting there.
_SECRET: Final = re.compile(rf"[A-Za-z0-9._~-]{{{SECRET_CHARACTERS_MIN},256}}")


class HookSecrets(Protocol):
    """The secrets of one media server that are valid now."""

    def valid(self) -> Sequence[str]:
        """All of them."""
        ...


class SettledSecrets:
    """Secrets that stay as they are while the process runs."""

    def __init__(self, *secrets: SecretStr) -> None:
        self._secrets = [secret.get_secret_value() for secret in secrets]

    def valid(self) -> Sequence[str]:
        """All of them."""
        return self._secrets


class SecretsFile:
    """Secrets in a file, one a line, read again when the file changes: so they are replaced without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _version(path)
        self._secrets = read_secrets(path)

    def valid(self) -> Sequence[str]:
        """What the file says; while it cannot be read, or says nothing that would do, what it said before."""
        try:
            seen = _version(self._path)
            if seen != self._seen:
                self._secrets = read_secrets(self._path)
                self._seen = seen
                log.info("hook_secrets_read", path=str(self._path), secrets=len(self._secrets))
        except (OSError, ValueError) as error:
            log.warning("hook_secrets_not_read", path=str(self._path), reason=str(error))
        return self._secrets


@dataclass(frozen=True, slots=True)
class HookedServer:
    """A media server as its hooks know it."""

    name: str
    """By which its sessions are told from another's."""
    dialect: Dialect
    secrets: HookSecrets
    application: str
    """Where streamers may publish."""
    push_url: str = ""
    """Where an accepted stream is sent on to; only nginx-rtmp can."""
    watched: bool = False
    """Whether viewers may watch at the server itself, past the edge and what it keeps private."""


class HookedServers:
    """All media servers that may ask."""

    def __init__(self, servers: Sequence[HookedServer]) -> None:
        self._servers = tuple(servers)

    def find(self, dialect: Dialect, secret: SecretStr) -> HookedServer:
        """The server that has this secret and speaks this dialect. Raises WrongSecret.

        Every secret is compared, each in constant time: how long it takes says nothing about any of them.
        """
        given = secret.get_secret_value().encode(errors="surrogatepass")
        found: HookedServer | None = None
        for server in self._servers:
            for valid in server.secrets.valid():
                if hmac.compare_digest(given, valid.encode()) and server.dialect is dialect:
                    found = server
        if found is None:
            raise WrongSecret("the address has no secret of a media server that speaks this dialect")
        return found


def read_secrets(path: Path) -> list[str]:
    """The secrets in a file; empty lines and those that begin with # are passed over. Raises OSError or ValueError."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise ValueError(f"{path} must have 1 to {SECRETS_MAX} secrets, one a line")
    if not all(_SECRET.fullmatch(secret) for secret in secrets):
        raise ValueError(f"{path}: a secret has {SECRET_CHARACTERS_MIN} to 256 of the characters A-Z a-z 0-9 . _ ~ -")
    return secrets


def _version(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
