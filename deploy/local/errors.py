"""What can go wrong with the local stack.

StackError
├── PartFailed       a part did not become healthy, or ended
├── NotInstalled     a binary of the stack is not there
├── PortsTaken       something foreign listens where a running stack needs a port
├── AddressTaken     nginx cannot listen where it was told to
└── AddressWrong     what was given as an address to listen on is none
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
            f"port {port} of {part} is taken by another program while other parts of this stack run: "
            f"stop it (`ss -ltnp 'sport = :{port}'` names it), or `make down` and start again, to move to free ports"
        )


ADDRESS_FIXES = {
    "in use": "is in use by another program; `ss -ltnp 'sport = :{port}'` names it: stop it, or listen elsewhere",
    "foreign": "is no address of this machine; `ip -brief address` lists them, 0.0.0.0 is all of them",
    "privileged": "is for root only, like every port below 1024; choose a higher one",
}


class AddressTaken(StackError):
    """An address that nginx was told to listen on is not to be had; `reason` is a key of ADDRESS_FIXES, or a text."""

    def __init__(self, part: str, use: str, address: str, port: int, reason: str) -> None:
        self.part = part
        self.port = port
        self.reason = reason
        fix = ADDRESS_FIXES.get(reason, reason).format(port=port)
        super().__init__(f"{part} cannot listen on {address} ({use}): port {port} {fix}")


class AddressWrong(StackError):
    """Not an address to listen on."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(f"cannot listen on {text!r}: {reason or 'wanted IP:PORT, like 0.0.0.0:8080 or [::]:8080'}")
