"""The ``livestream`` command: every verb with its help.

Exit codes of every verb: 0 done; 1 not done, the error on standard error says why; 2 used wrongly; 3 done, and what was
found differs from what is wanted (only the verbs whose help says so). ``solo`` ends as our processes do: 2 is stuck.
"""

import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.endings import CODES, DEBUG_VARIABLE, fail, tell_unexpected
from console.installation import EnvFileInvalid, load_env_file
from runtime.logs import configure_logging

if TYPE_CHECKING:
    app: typer.Typer

# Verbs in the order of the help, with the modules whose `app` they are.
SINGLE = {
    "init": "console.init",
    "solo": "console.solo",
    "doctor": "console.doctor.verb",
    "backup": "console.backup",
    "restore": "console.restore",
    "generate": "console.generate",
    "init-secrets": "console.init_secrets",
    "push-key": "console.push_key",
    "seed-followers": "console.seed_followers",
    "demo": "console.demo.verb",
    "capacity": "console.capacity",
}
GROUPS = {
    "migrate": "console.migrate",
    "topics": "console.topics",
    "db": "console.db.verb",
    "dead-letters": "console.dead_letters",
    "deliveries": "console.deliveries",
    "follows": "console.follows",
    "groups": "console.groups",
    "keys": "console.keys",
    "objects": "console.objects",
    "operators": "console.operators",
    "retention": "console.retention.verb",
}
VALUED_OPTIONS = frozenset({"--env-file"})


def application(verbs: Collection[str]) -> typer.Typer:
    """The command with some of its verbs. What others need is not imported: all of it would take two seconds."""
    made = typer.Typer(
        help="LiveStream: the backend for live streaming that you run yourself.",
        epilog=CODES,
        no_args_is_help=True,
        add_completion=False,
    )
    made.callback()(livestream)
    for verb, module in SINGLE.items():
        if verb in verbs:
            made.add_typer(import_module(module).app)
    for verb, module in GROUPS.items():
        if verb in verbs:
            made.add_typer(import_module(module).app, name=verb)
    return made


def wanted_verbs(arguments: Sequence[str]) -> Collection[str]:
    """The verb that a command line names; all of them, for the help or an error, where it names none that there is."""
    words = iter(arguments)
    for word in words:
        if word in VALUED_OPTIONS:
            next(words, None)
        elif not word.startswith("-"):
            return {word} if word in SINGLE or word in GROUPS else {*SINGLE, *GROUPS}
    return {*SINGLE, *GROUPS}


def __getattr__(name: str) -> typer.Typer:
    """`app`: the whole command, made when somebody asks for it."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = application({*SINGLE, *GROUPS})
    return made


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
    typer.main.get_command(application(wanted_verbs(sys.argv[1:])))(prog_name="livestream")


if __name__ == "__main__":
    main()
