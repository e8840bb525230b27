"""The health check of a container (`python -m deploy.container.ready [PORT PATH]`): exit 0 when it answers 2xx."""

from __future__ import annotations

import http.client
import os
import sys

ANSWER_SECONDS_MAX = 3.0
REASON_BYTES_MAX = 2_000


def check(port: int, path: str) -> str | None:
    """None when GET `path` on this machine's `port` answers 2xx, else why not, with what the process says itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(REASON_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"port {port}: {error}"
    finally:
        connection.close()
    return None if 200 <= answer.status < 300 else f"{answer.status} {text}"


def main() -> int:
    """The exit code: 0 ready, 1 not ready, with the reason on standard output (the container's health log keeps it)."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("LIVESTREAM_HTTP_PORT", "8080"))
    path = sys.argv[2] if len(sys.argv) > 2 else "/readyz"
    reason = check(port, path)
    if reason is not None:
        sys.stdout.write(reason + "\n")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
