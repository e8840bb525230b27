"""``livestream demo``: bring the local stack up, tell the story, print the table, write the report."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console.demo.report import DemoReport
from console.demo.steps import StepFailed, Steps
from console.demo.story import Place, Story
from deploy.local import ProfileName, Stack, StackError, places
from eventbus.settings import BusSettings
from runtime.settings import PREFIX

app = typer.Typer()


@app.command()
def demo(
    profile: Annotated[
        ProfileName, typer.Option(help="Which stack: solo is one process of ours; full has Kafka and MinIO.")
    ] = "solo",
    keep: Annotated[
        bool, typer.Option("--keep", envvar="KEEP", help="Leave everything running and print where it is.")
    ] = False,
    began: Annotated[
        float | None, typer.Option(help="When the set-up began, in seconds since 1970, for the figure setup_seconds.")
    ] = None,
) -> None:
    """Run one stream end to end on the local stack, as outsiders would; exit 0 only if every step was verified.

    Examples:

        livestream demo

        livestream demo --profile full --keep
    """
    console = Console(highlight=False, soft_wrap=True)
    began_seconds = began or time.time()
    stack = Stack(profile=profile)
    running_before = any(status.pid is not None for status in stack.status())
    report = DemoReport(profile=profile)
    path = places.LOCAL / "demo.json"
    try:
        console.print(f"[bold]Starting the local stack[/bold] ({profile}: {', '.join(stack.parts)})")
        stack.up(stack.parts, say=console.print)
        report.setup_seconds = round(time.time() - began_seconds, 1)
        console.print("[bold]One stream, end to end[/bold]")
        asyncio.run(Story(place_of(stack), Steps(console), report).tell())
    except StackError as error:
        console.print(f"[red]The stack did not start:[/red] {error}")
    except StepFailed:  # told where it happened
        console.print(
            f"The demo stopped here. The logs are in {_shown(stack.directory / 'log')}: make logs PROFILE={profile}"
        )
    finally:
        report.write(path)
        if not (keep or running_before):
            stack.down()
    console.print(report.table())
    console.print(f"{'verified' if report.ok else 'FAILED'}; report: {_shown(path)}")
    if keep and report.ok:
        url = stack.environment()["LIVESTREAM_PUBLIC_URL"]
        console.print(f"Running: {url} (web page and API); stop it: make down PROFILE={profile}")
    raise typer.Exit(0 if report.ok else 1)


def place_of(stack: Stack) -> Place:
    """Where the story plays when it plays on this stack; the clip is kept for the next time, whatever the stack."""
    environment = stack.environment()
    wanted = {name: f"{PREFIX}{name.upper()}" for name in BusSettings.model_fields}
    return Place(
        public_url=environment["LIVESTREAM_PUBLIC_URL"],
        postgres_dsn=environment["LIVESTREAM_POSTGRES_DSN"],
        bus=BusSettings.model_validate({n: environment[v] for n, v in wanted.items() if v in environment}),
        gateway_urls=stack.gateway_urls,
        directory=places.LOCAL,
    )


def _shown(path: Path) -> str:
    return os.path.relpath(path)
