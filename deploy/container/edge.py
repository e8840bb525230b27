"""The edge in a container: renders `deploy/nginx.conf` from settings and becomes nginx."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator

from deploy.local.credentials import write_private
from deploy.local.edge import TEMPLATE, render, s3_values, unknown_secret
from deploy.local.parts import S3Recordings
from runtime.settings import ProcessSettings, SettingsInvalid, load_settings

CHECKOUT = Path(__file__).resolve().parents[2]
NGINX = "/usr/sbin/nginx"

# Settings become lines of a configuration file: nothing that nginx would read as more than a name gets in.
HOST_PORT = r"^[A-Za-z0-9._-]+:[0-9]{1,5}$"
HOST_PORTS = r"^[A-Za-z0-9._-]+:[0-9]{1,5}(,[A-Za-z0-9._-]+:[0-9]{1,5})*$"
LOOPBACK_PORT = r"^127\.0\.0\.1:[0-9]{1,5}$"
ADDRESSES = r"^[0-9A-Fa-f.:/]+(,[0-9A-Fa-f.:/]+)*$"
DIRECTORY = r"^/[A-Za-z0-9._/-]+$"
PLAIN = r"[A-Za-z0-9_-]+"


class EdgeSettings(ProcessSettings):
    """Settings of the edge: where it listens, and where everybody else is. Log settings are nginx's own."""

    edge_hook_secret: SecretStr = Field(
        min_length=16, description="The streaming service's ingest secret: the end of its hooks' address."
    )
    edge_playback_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="The streaming service's playback secret; without it private streams cannot be watched.",
    )
    edge_rtmp_listen: str = Field(default="0.0.0.0:1935", pattern=HOST_PORT, description="Address of RTMP ingest.")
    edge_push_listen: str = Field(
        default="127.0.0.1:1936",
        pattern=LOOPBACK_PORT,
        description="Address where nginx pushes accepted video to itself, without a question: 127.0.0.1 and a port.",
    )
    edge_http_listen: str = Field(default="0.0.0.0:8080", pattern=HOST_PORT, description="Address of the edge.")
    edge_control_listen: str = Field(
        default="0.0.0.0:8081",
        pattern=HOST_PORT,
        description="Address of the media server's control and statistics.",
    )
    edge_control_allow: str = Field(
        default="127.0.0.1",
        pattern=ADDRESSES,
        description="Addresses or networks that may use control and statistics, separated by commas.",
    )
    edge_accounts: str = Field(default="accounts:8080", pattern=HOST_PORT, description="The accounts service.")
    edge_streaming: str = Field(default="streaming:8080", pattern=HOST_PORT, description="The streaming service.")
    edge_notify: str = Field(default="notify:8080", pattern=HOST_PORT, description="The notify service.")
    edge_archive: str = Field(default="archive:8080", pattern=HOST_PORT, description="The archive's intake.")
    edge_chat: str = Field(
        default="chat-1:8080,chat-2:8080", pattern=HOST_PORTS, description="The chat gateways, separated by commas."
    )
    edge_object_store: str = Field(
        default="minio:9000",
        pattern=HOST_PORT,
        description="The S3 endpoint that recordings are read from, plain HTTP.",
    )
    edge_bucket: str = Field(
        default="recordings", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="The bucket of the recordings."
    )
    edge_update_seconds: int = Field(
        default=5, ge=1, le=60, description="How often the media server asks whether a publisher may go on."
    )
    edge_hls_directory: str = Field(
        default="/var/lib/livestream/hls", pattern=DIRECTORY, description="Where live segments are written."
    )
    edge_run_directory: str = Field(
        default="/run/livestream", pattern=DIRECTORY, description="Writable: configuration, pid, temporary files."
    )

    @field_validator("edge_playback_secret")
    @classmethod
    def _plain(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and re.fullmatch(PLAIN, secret.get_secret_value()) is None:
            raise ValueError("only letters, digits, _ and - are taken")
        return secret


def nginx_configuration(settings: EdgeSettings) -> str:
    """The configuration file. It contains secrets."""
    return render(
        TEMPLATE.read_text(),
        {
            # Not root: nginx stays the user that it is started as.
            "USER_DIRECTIVE": "",
            "MODULES_DIRECTORY": "/usr/lib/nginx/modules",
            "RUN_DIRECTORY": settings.edge_run_directory,
            "RTMP_LISTEN": settings.edge_rtmp_listen,
            "PUSH_LISTEN": settings.edge_push_listen,
            "HTTP_LISTEN": settings.edge_http_listen,
            "CONTROL_LISTEN": settings.edge_control_listen,
            "CONTROL_ALLOW": " ".join(f"allow {address};" for address in settings.edge_control_allow.split(",")),
            "HOOK_URL": _hook_url(settings),
            "UPDATE_SECONDS": str(settings.edge_update_seconds),
            "HLS_DIRECTORY": settings.edge_hls_directory,
            "PLAYBACK_SECRET": _playback_secret(settings),
            "WEB_DIRECTORY": str(CHECKOUT / "web"),
            "ACCOUNTS": settings.edge_accounts,
            "STREAMING": settings.edge_streaming,
            "NOTIFY": settings.edge_notify,
            "ARCHIVE": settings.edge_archive,
            "CHAT_SERVERS": " ".join(f"server {server};" for server in settings.edge_chat.split(",")),
            **s3_values(S3Recordings(f"http://{settings.edge_object_store}", settings.edge_bucket)),
        },
        recordings="s3",
    )


def _playback_secret(settings: EdgeSettings) -> str:
    if settings.edge_playback_secret is None:
        return unknown_secret()
    return settings.edge_playback_secret.get_secret_value()


def _hook_url(settings: EdgeSettings) -> str:
    secret = quote(settings.edge_hook_secret.get_secret_value(), safe="")
    return f"http://{settings.edge_streaming}/hooks/ingest/nginx-rtmp/{secret}"


def main() -> NoReturn:
    """Write the configuration and become nginx; exits 1 with a line per wrong setting."""
    try:
        settings = load_settings(EdgeSettings)
    except SettingsInvalid as invalid:
        sys.stderr.write("".join(f"edge: {line}\n" for line in invalid.lines))
        sys.exit(1)
    path = Path(settings.edge_run_directory) / "nginx.conf"
    write_private(path, nginx_configuration(settings))
    # -e: the compiled-in log file is not ours to write.
    os.execv(NGINX, [NGINX, "-e", "stderr", "-c", str(path), "-g", "daemon off;"])  # noqa: S606  it replaces this process


if __name__ == "__main__":
    main()
