"""``livestream init-secrets``: make the random secrets of an installation, as files for its services and engines."""

import base64
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from console.endings import fail
from deploy.local.credentials import p256_private_key

# Only the owner reads them: the services and Redis run as the user that wrote them, Postgres and MinIO start as root.
FILE_MODE = 0o400
DIRECTORY_MODE = 0o700

app = typer.Typer()


def _token() -> str:
    """256 random bits that need no quoting in a URL, a configuration file or a shell."""
    return secrets.token_urlsafe(32)


def _key() -> str:
    """32 random bytes as unpadded base64url."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


# What is random. Names with the prefix are read by the services (LIVESTREAM_SECRETS_DIR), `engines/` by the engines.
RANDOM: Mapping[str, Callable[[], str]] = {
    "engines/postgres_password": _token,
    "engines/redis_password": _token,
    "livestream_accounts_key_secret": _key,
    "livestream_streaming_ingest_secret": _token,
    "livestream_streaming_playback_secret": _token,
    "livestream_streaming_viewer_secret": _token,
    "livestream_notify_vapid_private_key": p256_private_key,
    "livestream_notify_sealing_secret": _key,
    "livestream_archive_s3_access_key_id": lambda: secrets.token_hex(10),  # MinIO takes 3 to 20 characters
    "livestream_archive_s3_secret_access_key": lambda: secrets.token_urlsafe(30),  # and 8 to 40 here
}


@app.command("init-secrets")
def init_secrets(
    directory: Annotated[Path, typer.Argument(help="Where the files go; made if it is missing.")],
    postgres: Annotated[str, typer.Option(help="Postgres, as host:port/database.")] = "postgres:5432/livestream",
    redis: Annotated[str, typer.Option(help="Redis, as host:port/number.")] = "redis:6379/0",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs: names, never secrets.")] = False,
) -> None:
    """Write every secret that is not there yet, for a server in containers; a file that exists is never touched.

    A solo server needs none of this: `livestream init` writes its one settings file.

    Exit 0: all are there; 1: not.

    Examples:

        livestream init-secrets /etc/livestream/secrets

        livestream init-secrets /etc/livestream/secrets --postgres db.example.org:5432/livestream --json
    """
    try:
        made = write_secrets(directory, postgres=postgres, redis=redis)
    except OSError as error:
        raise fail(f"init-secrets: {error}") from None
    if as_json:
        typer.echo(json.dumps({"directory": str(directory), "made": made}))
        return
    for name in made:
        typer.echo(f"made {name}")
    if not made:
        typer.echo(f"all secrets are in {directory}; nothing was changed")


def write_secrets(directory: Path, *, postgres: str, redis: str) -> list[str]:
    """Make what is missing below `directory` and return the names of the new files; raises OSError.

    What follows from a random value (the DSN from the password, say) is worked out from the file that holds it, so an
    interrupted run is finished by the next one without a contradiction.
    """
    (directory / "engines").mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    made = [name for name, new in RANDOM.items() if _write_once(directory / name, new())]
    known = {name: (directory / name).read_text() for name in RANDOM}
    following = {
        "livestream_postgres_dsn": f"postgresql://livestream:{known['engines/postgres_password']}@{postgres}",
        "livestream_redis_url": f"redis://:{known['engines/redis_password']}@{redis}",
        "livestream_edge_hook_secret": known["livestream_streaming_ingest_secret"],
        "livestream_edge_playback_secret": known["livestream_streaming_playback_secret"],
        # One store for both in these containers, each with a bucket of its own.
        "livestream_chat_emote_s3_access_key_id": known["livestream_archive_s3_access_key_id"],
        "livestream_chat_emote_s3_secret_access_key": known["livestream_archive_s3_secret_access_key"],
        "engines/redis.conf": f"requirepass {known['engines/redis_password']}\n",
        "engines/minio.env": (
            f"MINIO_ROOT_USER={known['livestream_archive_s3_access_key_id']}\n"
            f"MINIO_ROOT_PASSWORD={known['livestream_archive_s3_secret_access_key']}\n"
        ),
    }
    return made + [name for name, text in following.items() if _write_once(directory / name, text)]


def _write_once(path: Path, text: str) -> bool:
    """Write a new file, whole or not at all; False if it exists."""
    if path.exists():
        return False
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(part)
    except FileExistsError:  # another run was quicker
        return False
    finally:
        part.unlink(missing_ok=True)
    return True
