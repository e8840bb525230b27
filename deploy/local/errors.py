"""What can go wrong with the local stack.

StackError
├── PartFailed       a part did not become healthy, or ended
├── NotInstalled     a binary of the stack is not there
└── PortsTaken       something foreign listens where a running stack needs a port
"""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """Anything that the local stack reports to its user; the text says what to do next."""


class PartFailed(StackError):
    """A part of the stack did not become healthy in its bounded time, or its process ended."""

    def __init__(self, part: str, reason: str, log: Path, last_lines: list[str]) -> None:
        self.part = part
        self.reason = reason
        self.log = log
        self.last_lines = last_lines
        tail = "".join(f"  | {line}\n" for line in last_lines) or "  | (its log is empty)\n"
        super().__init__(f"{part} {reason}\n{tail}next: read {log}, fix the cause, then run `make up` again")


class NotInstalled(StackError):
    """A program that the stack runs is missing."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not installed\nnext: run `make setup` (deploy/local/setup)")


class PortsTaken(StackError):
    """A port that a part needs is taken by another program while other parts of this stack already run."""

    def __init__(self, part: str, port: int) -> None:
        self.part = part
        self.port = port
        super().__init__(
            f"port {port} of {part} is taken by another program while other parts of this stack run\n"
            "next: run `make down`, then `make up`, which moves the whole stack to free ports"
        )
