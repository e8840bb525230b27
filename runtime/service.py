"""The one meaning of "service": an object with a name that runs until it is cancelled."""

from typing import Protocol


class CannotServe(Exception):
    """Something that a person must mend before this process can serve; the text says what, and how. No traceback."""


class Service(Protocol):
    """A part of a process that works until cancelled; returning or raising stops the process."""

    @property
    def name(self) -> str:
        """What logs call this service; constant, kebab-case."""
        ...

    async def run(self) -> None:
        """Work until cancelled, then put things in order within the process's grace and let the cancellation out."""
        ...
