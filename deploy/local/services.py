"""LiveStream's own processes in the local stack, the settings they get, and what must be done before they start."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from urllib.parse import quote

from deploy.local import places, probes
from deploy.local.engines import POSTGRES_ROLE
from deploy.local.parts import S3_BUCKET, Launch, Part, Place
from deploy.local.processes import run_to_end

COMMANDS: dict[str, tuple[str, ...]] = {
    "accounts": ("accounts",),
    "streaming": ("streaming",),
    "notify": ("notify",),
    "chat-1": ("chat",),
    "chat-2": ("chat",),
    "archive": ("archive", "intake"),
    "archive-worker": ("archive", "worker"),
    "archive-shipper": ("archive", "shipper"),
    "solo": ("solo",),
}

# What a service is made of: a change in any of these means that a running one is out of date.
CODE_DIRECTORIES = ("events", "eventbus", "runtime", "accounts", "streaming", "chat", "notify", "archive", "solo")
CODE_SUFFIXES = frozenset({".py", ".sql", ".lua", ".json"})

# Preparation is bounded like everything else; creating all topics on a fresh broker takes a few seconds.
PREPARE_SECONDS_MAX = 120.0


def settings(place: Place) -> dict[str, str]:
    """The LIVESTREAM_* variables that all services of this stack share, secrets included."""
    credentials = place.credentials
    postgres_password = quote(credentials.postgres_password, safe="")
    redis_password = quote(credentials.redis_password, safe="")
    control = place.url("control")
    return {
        "LIVESTREAM_POSTGRES_DSN": (
            f"postgresql://{POSTGRES_ROLE}:{postgres_password}@{place.address('postgres')}/postgres"
        ),
        "LIVESTREAM_REDIS_URL": f"redis://:{redis_password}@{place.address('redis')}/0",
        "LIVESTREAM_JWKS_URL": f"{place.api_url('accounts')}/.well-known/jwks.json",
        "LIVESTREAM_PUBLIC_URL": place.url("edge"),
        "LIVESTREAM_ACCOUNTS_KEY_SECRET": credentials.accounts_key_secret,
        # Everybody in this stack has one address, and whoever tries it does in a minute what takes others days.
        "LIVESTREAM_LIMIT_API_PER_MINUTE": "100000",
        "LIVESTREAM_LIMIT_LOGINS_PER_MINUTE": "10000",
        "LIVESTREAM_LIMIT_STREAM_CREATIONS_PER_HOUR": "1000",
        "LIVESTREAM_STREAMING_INGEST_SECRET": credentials.ingest_secret,
        "LIVESTREAM_STREAMING_PLAYBACK_SECRET": credentials.playback_secret,
        "LIVESTREAM_STREAMING_VIEWER_SECRET": credentials.viewer_secret,
        "LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY": credentials.vapid_private_key,
        "LIVESTREAM_NOTIFY_SEALING_SECRET": credentials.sealing_secret,
        # Whoever tries this stack out has their push service and webhook endpoint on the same machine.
        "LIVESTREAM_NOTIFY_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
        "LIVESTREAM_STREAMING_INGEST_CONTROL_URL": f"{control}/control",
        "LIVESTREAM_STREAMING_INGEST_STAT_URL": f"{control}/stat",
        "LIVESTREAM_STREAMING_INGEST_PUSH_URL": f"rtmp://{place.address('rtmp-push')}/hls",
        "LIVESTREAM_STREAMING_PUBLIC_INGEST_URL": f"rtmp://{place.address('rtmp')}/live",
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(place.hls_directory),
        "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(place.work_directory),
        **(_on_postgres_and_disk(place) if place.profile.name == "solo" else _on_kafka_and_s3(place)),
    }


def _on_postgres_and_disk(place: Place) -> dict[str, str]:
    return {
        "LIVESTREAM_BUS_BACKEND": "postgres",
        "LIVESTREAM_ARCHIVE_OBJECT_STORE": "disk",
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(place.recordings_directory),
        "LIVESTREAM_CHAT_EMOTE_STORE": "disk",
        "LIVESTREAM_CHAT_EMOTE_DIRECTORY": str(place.emotes_directory),
    }


def _on_kafka_and_s3(place: Place) -> dict[str, str]:
    return {
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": str(place.address("kafka")),
        "LIVESTREAM_ARCHIVE_OBJECT_STORE": "s3",
        "LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL": place.url("minio"),
        "LIVESTREAM_ARCHIVE_S3_BUCKET": S3_BUCKET,
        "LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID": place.credentials.s3_access_key_id,
        "LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY": place.credentials.s3_secret_access_key,
        "LIVESTREAM_CHAT_EMOTE_STORE": "s3",
        "LIVESTREAM_CHAT_EMOTE_S3_ENDPOINT_URL": place.url("minio"),
        "LIVESTREAM_CHAT_EMOTE_S3_ACCESS_KEY_ID": place.credentials.s3_access_key_id,
        "LIVESTREAM_CHAT_EMOTE_S3_SECRET_ACCESS_KEY": place.credentials.s3_secret_access_key,
    }


def inherited_environment() -> dict[str, str]:
    """This process's environment without what concerns the test run only, which services would refuse as unknown."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_TEST_")}


def prepare_all(place: Place) -> None:
    """Migrate the database and create the topics; both change nothing when there is nothing to do.

    Solo does both itself when it starts.
    """
    if place.profile.name == "solo":
        return
    environment = {**inherited_environment(), **settings(place), "PYTHONPATH": str(places.CHECKOUT)}
    for arguments in (("migrate",), ("topics", "create")):
        run_to_end(
            f"livestream {' '.join(arguments)}",
            [sys.executable, "-m", "console", *arguments],
            environment,
            seconds_max=PREPARE_SECONDS_MAX,
        )


def _code_version() -> str:
    """A digest of the names, sizes and times of the services' source files."""
    digest = hashlib.sha256()
    for directory in CODE_DIRECTORIES:
        for path in sorted((places.CHECKOUT / directory).rglob("*")):
            if path.suffix in CODE_SUFFIXES:
                stat = path.stat()
                digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _launch(name: str, place: Place) -> Launch:
    port = place.ports[name]
    return Launch(
        argv=[sys.executable, "-m", *COMMANDS[name]],
        environment={**settings(place), "LIVESTREAM_HTTP_PORT": str(port)},
        directory=places.CHECKOUT,
        probe=functools.partial(probes.http_ok, port, "/readyz"),
        version=_code_version(),
    )


def _nothing(_: Place) -> None:
    """A service keeps its state in the engines."""


SERVICE_PARTS = tuple(Part(name, (name,), _nothing, functools.partial(_launch, name)) for name in COMMANDS)
