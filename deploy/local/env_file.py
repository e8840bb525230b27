"""Reads and writes a settings file of `NAME=value` lines, as shells and systemd do; whatever else is in it is told."""

from __future__ import annotations

import os
import re
import secrets
import stat
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

PREFIX = "LIVESTREAM_"
ENV_FILE = "livestream.env"
"""Its name in the directory of a server."""
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO

_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_./:@%+,=~?&-]*")


class EnvFileInvalid(Exception):
    """A settings file that cannot be used. `lines` has one line per mistake, each with its place and the fix."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of the file; raises EnvFileInvalid, also when others than its owner may read it.

    Nothing is put in place of `$NAME`, and only settings may be set: a file that changes PATH is a trap.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        raise EnvFileInvalid([f"{path}: there is no such file; make it: livestream init"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise EnvFileInvalid([f"{path}: {reason}; it must belong to the user who runs this, and be text"]) from None
    if mode & OTHERS_MAY:
        raise EnvFileInvalid([f"{path}: its mode is {mode:04o} and it holds secrets; do: chmod 600 {path}"])
    return parse_env(text, name=str(path))


def parse_env(text: str, *, name: str) -> dict[str, str]:
    """The variables of a text; `name` is what its lines are called in EnvFileInvalid."""
    found: dict[str, str] = {}
    wrong = []
    for binding in parse_stream(StringIO(text)):
        place = f"{name} line {_line_of(binding)}"
        if binding.error or (binding.key is not None and binding.value is None):
            wrong.append(f"{place}: not NAME=value")
        elif binding.key is None or binding.value is None:  # a comment, an empty line
            continue
        elif not binding.key.startswith(PREFIX):
            wrong.append(f"{place}: {binding.key} is no setting; their names begin with {PREFIX}")
        elif binding.key in found:
            wrong.append(f"{place}: {binding.key} is set a second time; keep one")
        else:
            found[binding.key] = binding.value
    if wrong:
        raise EnvFileInvalid(wrong)
    return found


def assignment(variable: str, value: str) -> str:
    """The line that sets a variable; raises ValueError for a value that no one line can hold."""
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return f"{variable}={value}"
    if any(character in value for character in "'\\") or not value.isprintable():
        raise ValueError(f"{variable}: quotes, backslashes and line breaks cannot be written to a settings file")
    return f"{variable}='{value}'"


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all; raises FileExistsError, OSError."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(part)  # unlike a rename, this fails where something is
    finally:
        part.unlink(missing_ok=True)


def _line_of(binding: Binding) -> int:
    """The line where the binding's own text begins: the parser gives it the empty lines before as well."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
