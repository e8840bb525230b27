"""Small health probes, one per kind of part; each returns None when healthy, else one line saying why not.

They speak just enough of each protocol over a plain socket, so that the stack needs no client library to start.
"""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
from pathlib import Path

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 2.0


def http_ok(port: int, path: str) -> str | None:
    """A GET that answers 2xx."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(500).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"GET {path} on port {port}: {type(error).__name__} {error}"
    finally:
        connection.close()
    return None if 200 <= answer.status < 300 else f"GET {path} on port {port} answers {answer.status} {body}"


def tcp(port: int) -> str | None:
    """A connection that is accepted."""
    try:
        socket.create_connection((HOST, port), TIMEOUT_SECONDS).close()
    except OSError as error:
        return f"port {port}: {error}"
    return None


def postgres(port: int, programs: Path) -> str | None:
    """A server that takes connections (pg_isready exits 0: not while it starts up or recovers)."""
    done = subprocess.run(
        [programs / "pg_isready", "-h", HOST, "-p", str(port), "-t", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return None if done.returncode == 0 else done.stdout.strip()


def redis(port: int, password: str) -> str | None:
    """AUTH and PING answered with +OK and +PONG (Redis inline commands)."""
    try:
        with socket.create_connection((HOST, port), TIMEOUT_SECONDS) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (chunk := connection.recv(200)):
                answer += chunk
    except OSError as error:
        return f"port {port}: {error}"
    return None if answer == b"+OK\r\n+PONG\r\n" else f"port {port} answers {answer!r}"


def kafka(port: int) -> str | None:
    """A broker that has a coordinator for consumer groups.

    FindCoordinator (api key 10, version 1) also makes a fresh broker create its offsets topic, which takes it about a
    second in which every joining consumer logs errors; healthy means that this is over.
    """
    group = b"local-stack-health"
    client = b"local-stack"
    header = struct.pack(">hhih", 10, 1, 1, len(client)) + client
    request = header + struct.pack(">h", len(group)) + group + b"\x00"
    try:
        with socket.create_connection((HOST, port), TIMEOUT_SECONDS) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answers:
                (size,) = struct.unpack(">i", answers.read(4))
                answer = answers.read(size)
        # correlation id (int32), throttle time (int32), error code (int16)
        (code,) = struct.unpack_from(">h", answer, 8)
    except (OSError, struct.error) as error:
        return f"port {port}: {error}"
    return None if code == 0 else f"port {port}: no group coordinator yet (error code {code})"
