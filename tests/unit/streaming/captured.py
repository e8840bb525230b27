"""The 32 requests that nginx-rtmp 1.2.2 sent in a real run, as they came over the wire."""

import re
from pathlib import Path

CAPTURE = Path(__file__).with_name("nginx-rtmp-hooks.txt")


def captured_bodies() -> list[bytes]:
    """The bodies in the order in which they came."""
    requests = re.split(rb"^#### t=[\d.]+\n", CAPTURE.read_bytes(), flags=re.MULTILINE)[1:]
    return [request.partition(b"\r\n\r\n")[2].rstrip(b"\n") for request in requests]


def captured_call(body: bytes) -> str:
    """Which call a body is, by its first `call` field."""
    found = re.search(rb"&call=(\w+)", body)
    assert found is not None
    return found[1].decode()
