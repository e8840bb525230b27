"""What a check found: fine, doubtful or wrong, what was seen, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; whatever is not ok names its fix, an exact command or setting."""

    check: str
    level: Level
    seen: str
    fix: str = ""

    def __post_init__(self) -> None:
        if (self.level == "ok") == bool(self.fix):
            raise ValueError(f"{self.check}: a fix belongs to what is not ok, and to nothing else")

    @property
    def line(self) -> str:
        """The whole of it, for where there is no table."""
        return f"{self.check}: {self.seen}; {self.fix}" if self.fix else f"{self.check}: {self.seen}"


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", seen)


def warn(check: str, seen: str, fix: str) -> Finding:
    """It works, and may not for long, or not as well as it could."""
    return Finding(check, "warn", seen, fix)


def fail(check: str, seen: str, fix: str) -> Finding:
    """The server does not work like this."""
    return Finding(check, "fail", seen, fix)
