"""How every verb ends: the exit codes, one line with the next step for an error, a traceback only for who asks."""

import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

import typer

DONE = 0
NOT_DONE = 1
USED_WRONGLY = 2
DIFFERS = 3

CODES = """Exit codes of every verb: 0 done; 1 not done, the error says why; 2 used wrongly; 3 done, and what was found
differs from what is wanted (only the verbs whose help says so). `solo` ends as our processes do: 2 is stuck."""

DEBUG_VARIABLE = "LIVESTREAM_LOG_LEVEL"


def fail(lines: Sequence[str] | str, *, code: int = NOT_DONE) -> typer.Exit:
    """Say on standard error what is wrong; the answer is for the caller to raise."""
    for line in [lines] if isinstance(lines, str) else lines:
        typer.echo(line, err=True)
    return typer.Exit(code)


def tell_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The `sys.excepthook` of the command line: what no verb foresaw is one line, with the way to see more.

    The interpreter ends with exit code 1 after it.
    """
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
    elif os.environ.get(DEBUG_VARIABLE, "").lower() == "debug":
        traceback.print_exception(kind, error, trace)
    else:
        sys.stderr.write(f"{_one_line(kind, error)}; run it again as `livestream --debug …` to see where\n")


def _one_line(kind: type[BaseException], error: BaseException) -> str:
    text = " ".join(str(error).split())
    # The operating system's errors are written for people; another kind's text may be a bare key or number.
    return text if issubclass(kind, OSError) and text else f"{kind.__name__}: {text}" if text else kind.__name__
