"""The local stack's nginx: `deploy/nginx.conf` with this stack's addresses, directories and hook secret filled in."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from deploy.local import places
from deploy.local.errors import StackError
from deploy.local.listen import Address
from deploy.local.parts import API_SERVICES, DiskRecordings, Place, S3Recordings

TEMPLATE = places.CHECKOUT / "deploy/nginx.conf"
PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
# A section of the template that holds for one kind of recordings only: "# only: disk", its lines, "# end only".
SECTION = re.compile(r"^ *# only: (\w+)\n(.*?)^ *# end only\n", re.MULTILINE | re.DOTALL)

# Paths become words of the configuration: nothing that nginx would read as more than a name gets in.
PLAIN_PATH = re.compile(r"[\w./+@=~-]+")

UPDATE_SECONDS = 5
LOOPBACK = "127.0.0.1"
NGINX_PORTS = ("edge", "rtmp", "control", "rtmp-push")
DEFAULT_PORTS = {"http": 80, "https": 443}
CERTIFICATE_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"  # Debian's ca-certificates


def render(template: str, values: Mapping[str, str], *, recordings: Literal["disk", "s3"]) -> str:
    """Keep the sections of one kind of recordings, drop the comments, and replace every ${NAME}.

    Raises StackError for a placeholder without a value, or a value that nothing uses.
    """
    for name, value in values.items():
        if name.endswith("_DIRECTORY") and not PLAIN_PATH.fullmatch(value):
            raise StackError(f"{value!r} cannot be told to nginx: only letters, digits and ._/+@=~- in directory names")
    chosen = SECTION.sub(lambda section: section[2] if section[1] == recordings else "", template)
    body = "\n".join(line for line in chosen.splitlines() if not line.lstrip().startswith("#"))
    wanted = set(PLACEHOLDER.findall(body))
    if wanted != set(values):
        raise StackError(f"nginx.conf and its values differ: {', '.join(sorted(wanted ^ set(values)))}")
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], body) + "\n"


def hook_url(place: Place) -> str:
    """Where nginx-rtmp asks and reports; the path carries the secret because the module can send no header."""
    return f"{place.api_url('streaming')}/hooks/ingest/nginx-rtmp/{place.credentials.ingest_secret}"


def unknown_secret() -> str:
    """For an edge that was told no secret of its own: with one that nobody knows, no signed address opens anything."""
    return secrets.token_urlsafe(32)


def listeners(place: Place) -> dict[str, Address]:
    """What nginx listens on, by the name of the port; people reach the first two."""
    public = place.listen.addresses if place.listen else {}
    return {port: public.get(port, Address(LOOPBACK, place.ports[port])) for port in NGINX_PORTS}


def nginx_configuration(place: Place) -> str:
    """The whole configuration file of the local nginx. It contains secrets."""
    listen = listeners(place)
    values = {
        # The checkout may be below a directory that only root may enter.
        "USER_DIRECTIVE": "user root;" if os.geteuid() == 0 else "",
        "MODULES_DIRECTORY": "/usr/lib/nginx/modules",
        "RUN_DIRECTORY": str(place.state("nginx")),
        "RTMP_LISTEN": str(listen["rtmp"]),
        "PUSH_LISTEN": str(listen["rtmp-push"]),
        "HTTP_LISTEN": str(listen["edge"]),
        "CONTROL_LISTEN": str(listen["control"]),
        "CONTROL_ALLOW": f"allow {LOOPBACK};",
        "HOOK_URL": hook_url(place),
        "UPDATE_SECONDS": str(UPDATE_SECONDS),
        "HLS_DIRECTORY": str(place.hls_directory),
        "PLAYBACK_SECRET": place.credentials.playback_secret or unknown_secret(),
        "WEB_DIRECTORY": str(places.CHECKOUT / "web"),
        **{service.upper(): str(place.address(place.profile.apis[service])) for service in API_SERVICES},
        "CHAT_SERVERS": " ".join(f"server {place.address(part)};" for part in place.profile.gateways),
    }
    recordings = place.recordings
    if isinstance(recordings, DiskRecordings):
        values["RECORDINGS_DIRECTORY"] = str(recordings.directory)
        return render(TEMPLATE.read_text(), values, recordings="disk")
    return render(TEMPLATE.read_text(), values | s3_values(recordings), recordings="s3")


def s3_values(recordings: S3Recordings) -> dict[str, str]:
    """What the template wants to know of an object store."""
    endpoint = urlsplit(recordings.endpoint_url)
    port = endpoint.port or DEFAULT_PORTS[endpoint.scheme]
    tls = (
        f"proxy_ssl_server_name on; proxy_ssl_name {endpoint.hostname}; proxy_ssl_verify on; proxy_ssl_verify_depth 3;"
        f" proxy_ssl_trusted_certificate {CERTIFICATE_AUTHORITIES};"
    )
    return {
        "S3": f"{endpoint.hostname}:{port}",
        "S3_BUCKET": recordings.bucket,
        "S3_SCHEME": endpoint.scheme,
        "S3_TLS": tls if endpoint.scheme == "https" else "",
    }
