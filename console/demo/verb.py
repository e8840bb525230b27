"""``livestream demo``: bring the local stack up, tell the story, print the table, write the report."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from console.demo.report import DemoReport
from console.demo.steps import StepFailed, Steps
from console.demo.story import Place, Story
from deploy.local.errors import StackError
from deploy.local.parts import ALL
from deploy.local.stack import Stack

app = typer.Typer()


@app.command()
def demo(
    profile: Annotated[Literal["full"], typer.Option(help="Which stack: full is Kafka and MinIO.")] = "full",
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

        livestream demo --keep
    """
    console = Console(highlight=False, soft_wrap=True)
    began_seconds = began or time.time()
    stack = Stack()
    running_before = any(status.pid is not None for status in stack.status())
    report = DemoReport(profile=profile)
    path = stack.directory / "demo.json"
    try:
        console.print("[bold]Starting the local stack[/bold] (Postgres, Redis, Kafka, MinIO, nginx-rtmp, our services)")
        stack.up(ALL, say=console.print)
        report.setup_seconds = round(time.time() - began_seconds, 1)
        console.print("[bold]One stream, end to end[/bold]")
        asyncio.run(Story(place_of(stack), Steps(console), report).tell())
    except StackError as error:
        console.print(f"[red]The stack did not start:[/red] {error}")
    except StepFailed:  # told where it happened
        console.print(f"The demo stopped here. The logs are in {_shown(stack.directory / 'log')}: make logs PART=…")
    finally:
        report.write(path)
        if not (keep or running_before):
            stack.down()
    console.print(report.table())
    console.print(f"{'verified' if report.ok else 'FAILED'}; report: {_shown(path)}")
    if keep and report.ok:
        console.print(f"Running: {stack.environment()['LIVESTREAM_PUBLIC_URL']} (web page and API); stop it: make down")
    raise typer.Exit(0 if report.ok else 1)


def place_of(stack: Stack) -> Place:
    """Where the story plays when it plays on this stack."""
    environment = stack.environment()
    return Place(
        public_url=environment["LIVESTREAM_PUBLIC_URL"],
        postgres_dsn=environment["LIVESTREAM_POSTGRES_DSN"],
        kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
        kafka_topic_prefix=environment.get("LIVESTREAM_KAFKA_TOPIC_PREFIX", ""),
        gateway_urls=tuple(f"http://127.0.0.1:{stack.ports[name]}" for name in ("chat-1", "chat-2")),
        directory=stack.directory,
    )


def _shown(path: Path) -> str:
    return os.path.relpath(path)
