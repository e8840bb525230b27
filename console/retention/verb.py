"""The verbs of ``livestream retention``."""

import typer

from console.retention.holding import hold, holds, release
from console.retention.overriding import override
from console.retention.planning import apply, plan

app = typer.Typer(help="Plan and do what age asks for, hold it, and set a channel's own terms.", no_args_is_help=True)

for verb in (plan, apply, hold, release, holds, override):
    app.command()(verb)
