"""Progress is for people at a terminal: nothing of it reaches a program or a log file."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from deploy.local import places

VERB = """
import typer
from console.progress import counting, waiting
app = typer.Typer()
@app.command()
def verb(as_json: bool = typer.Option(False, "--json")):
    with waiting("looking", quiet=as_json) as say:
        say("everywhere")
    with counting("things", 3, quiet=as_json) as done:
        done(3)
    typer.echo("answer")
app()
"""


def run_at_terminal(*arguments: str) -> tuple[str, str]:
    """Standard output, and what was written to the terminal that standard error is."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", VERB, *arguments],
            cwd=places.CHECKOUT,
            env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            text=True,
            timeout=60,
        )
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 65_536).decode()
        except BlockingIOError:
            shown = ""
    finally:
        os.close(ours)
        os.close(theirs)
    return done.stdout, shown


def test_a_person_at_a_terminal_sees_progress_apart_from_the_answer() -> None:
    answer, shown = run_at_terminal()
    assert answer == "answer\n"
    assert "looking" in shown
    assert "things" in shown


def test_a_program_that_asks_for_json_gets_none() -> None:
    assert run_at_terminal("--json") == ("answer\n", "")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_log_file_gets_none(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VERB, *arguments],
        cwd=places.CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("answer\n", "")
