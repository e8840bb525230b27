"""Ports for processes that are told theirs before they listen."""

import contextlib
import os
import random
import socket

_DICE = random.SystemRandom()  # seeded by nobody: tests side by side must not draw the same
_given: set[int] = set()

FIRST_PORT = 10_000
PORTS_PER_WORKER = 1_000
WORKERS = 7


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has right now, and that no outgoing connection is given meanwhile (ip(7)).

    No port is given twice: who asks for two may listen on neither yet. Nor do processes of one run draw from the same
    thousand: what one was given, and does not listen on yet, looks free to another.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    first = FIRST_PORT + worker * PORTS_PER_WORKER
    for port in _DICE.sample(range(first, first + PORTS_PER_WORKER), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError(f"no port from {first} on is free")
