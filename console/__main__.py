"""The ``livestream`` command: every verb with its help.

Exit codes of every verb: 0 done; 1 not done, the error on standard error says why; 2 used wrongly; 3 done, and what was
found differs from what is wanted (only the verbs whose help says so). ``solo`` ends as our processes do: 2 is stuck.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from console import (
    backup,
    capacity,
    dead_letters,
    deliveries,
    follows,
    generate,
    groups,
    init,
    init_secrets,
    keys,
    migrate,
    objects,
    operators,
    push_key,
    restore,
    seed_followers,
    solo,
    topics,
)
from console.db import verb as db
from console.demo import verb as demo
from console.doctor import verb as doctor
from console.endings import CODES, DEBUG_VARIABLE, fail, tell_unexpected
from console.installation import EnvFileInvalid, load_env_file
from console.retention import verb as retention
from runtime.logs import configure_logging

app = typer.Typer(
    help="LiveStream: the backend for live streaming that you run yourself.",
    epilog=CODES,
    no_args_is_help=True,
    add_completion=False,
)
for verb in (init, solo, doctor, backup, restore, generate, init_secrets, push_key, seed_followers, demo, capacity):
    app.add_typer(verb.app)
app.add_typer(migrate.app, name="migrate")
app.add_typer(topics.app, name="topics")
app.add_typer(db.app, name="db")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(follows.app, name="follows")
app.add_typer(groups.app, name="groups")
app.add_typer(keys.app, name="keys")
app.add_typer(objects.app, name="objects")
app.add_typer(operators.app, name="operators")
app.add_typer(retention.app, name="retention")


@app.callback()
def livestream(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and every log line.")] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read settings from a file first; variables of the environment win."),
    ] = None,
) -> None:
    """LiveStream: the backend for live streaming that you run yourself."""
    if env_file is not None:
        try:
            load_env_file(env_file)
        except EnvFileInvalid as wrong:
            raise fail(wrong.lines) from None
    if debug:
        os.environ[DEBUG_VARIABLE] = "debug"
    # Standard output is for answers alone; what happens on the way is for whoever watches.
    level = "debug" if os.environ.get(DEBUG_VARIABLE) == "debug" else "warning"
    configure_logging(service="console", level=level, log_format="console", stream=sys.stderr, for_good=False)


def main() -> None:
    """Run the command line."""
    sys.excepthook = tell_unexpected
    # Not `app()`, which would put a hook of its own in front of ours.
    typer.main.get_command(app)(prog_name="livestream")


if __name__ == "__main__":
    main()
