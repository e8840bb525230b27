"""Ports for processes that are told theirs before they listen."""

import contextlib
import random
import socket

_DICE = random.SystemRandom()  # seeded by nobody: tests side by side must not draw the same
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has right now, and that no outgoing connection is given meanwhile (ip(7)).

    No port is given twice: who asks for two may listen on neither yet.
    """
    for port in _DICE.sample(range(10_000, 17_000), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError("no port between 10000 and 17000 is free")
