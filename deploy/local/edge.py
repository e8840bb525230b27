"""The local stack's nginx: `deploy/nginx.conf` with this stack's addresses, directories and hook secret filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from deploy.local import places
from deploy.local.errors import StackError
from deploy.local.parts import Place

TEMPLATE = places.CHECKOUT / "deploy/nginx.conf"
PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")

S3_BUCKET = "recordings"
UPDATE_SECONDS = 5


def render(template: str, values: Mapping[str, str]) -> str:
    """Replace every ${NAME}; raises StackError for a placeholder without a value, or a value that nothing uses."""
    body = "\n".join(line for line in template.splitlines() if not line.lstrip().startswith("#"))
    wanted = set(PLACEHOLDER.findall(body))
    if wanted != set(values):
        raise StackError(f"nginx.conf and its values differ: {', '.join(sorted(wanted ^ set(values)))}")
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], body) + "\n"


def hook_url(place: Place) -> str:
    """Where nginx-rtmp asks and reports; the path carries the secret because the module can send no header."""
    return f"{place.url('streaming')}/hooks/ingest/nginx-rtmp/{place.credentials.ingest_secret}"


def nginx_configuration(place: Place) -> str:
    """The whole configuration file of the local nginx. It contains the hook secret."""

    def address(part: str) -> str:
        return f"127.0.0.1:{place.ports[part]}"

    values = {
        # The checkout may be below a directory that only root may enter.
        "USER_DIRECTIVE": "user root;" if os.geteuid() == 0 else "",
        "MODULES_DIRECTORY": "/usr/lib/nginx/modules",
        "RUN_DIRECTORY": str(place.state("nginx")),
        "RTMP_LISTEN": address("rtmp"),
        "HTTP_LISTEN": address("edge"),
        "CONTROL_LISTEN": address("control"),
        "CONTROL_ALLOW": "allow 127.0.0.1;",
        "HOOK_URL": hook_url(place),
        "UPDATE_SECONDS": str(UPDATE_SECONDS),
        "HLS_DIRECTORY": str(place.hls_directory),
        "WEB_DIRECTORY": str(places.CHECKOUT / "web"),
        "ACCOUNTS": address("accounts"),
        "STREAMING": address("streaming"),
        "NOTIFY": address("notify"),
        "ARCHIVE": address("archive"),
        "CHAT_SERVERS": " ".join(f"server {address(part)};" for part in ("chat-1", "chat-2")),
        "S3": address("minio"),
        "S3_BUCKET": S3_BUCKET,
    }
    return render(TEMPLATE.read_text(), values)
