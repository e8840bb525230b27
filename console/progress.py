"""Progress on standard error for whoever sits at a terminal; programs and log files get none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Say = Callable[[str], None]


def _console() -> Console:
    return Console(stderr=True, highlight=False)


@contextmanager
def waiting(what: str, *, quiet: bool = False) -> Iterator[Say]:
    """Turn a spinner beside `what` while the block runs; the block may say what it is at. `quiet`: for JSON."""
    console = _console()
    if quiet or not console.is_terminal:
        yield lambda _text: None
        return
    with console.status(what) as status:
        yield lambda text: status.update(f"{what}: {text}")


@contextmanager
def counting(what: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Draw a bar that fills up to `total`; the block says how many more are done."""
    console = _console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
