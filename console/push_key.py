"""``livestream push-key``: make the key of Web Push for a server that has none yet."""

import json
from typing import Annotated

import typer

from deploy.local.credentials import p256_private_key

VARIABLE = "LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY"

app = typer.Typer()


@app.command("push-key")
def push_key(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Make a new key for Web Push and write it as a line of a settings file. Stores nothing.

    New servers need not do this: `livestream init` and `livestream init-secrets` make one. Replace the key of a server
    only when it has leaked: every browser has to subscribe again then, which it does at its next visit.

    Exit 0: always.

    Examples:

        livestream push-key >> /var/lib/livestream/livestream.env

        livestream push-key --json
    """
    key = p256_private_key()
    typer.echo(json.dumps({VARIABLE: key}) if as_json else f"{VARIABLE}={key}")
