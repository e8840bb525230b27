"""``livestream doctor``: run every check, show a line for each, and exit by whether the server would run."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from console.doctor.finding import Finding
from console.doctor.machine import check_machine
from console.doctor.place import check_addresses, check_directory, check_web_push, growing_places, read_settings
from console.doctor.programs import check_programs
from console.doctor.running import check_postgres, check_redis, check_services
from console.endings import NOT_DONE
from console.installation import DirectoryOption, directory_of, is_held
from console.progress import Say, waiting
from console.server import ServerSettings, own_engines, stack_of

MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}

app = typer.Typer()


@app.command()
def doctor(
    directory: DirectoryOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Check programs, addresses, disk, clock, settings and, where they run, engines and services; name every fix.

    Changes nothing and asks nobody outside this machine. May be run before `livestream init`, and beside a running
    server. Run it as the user who runs the server.

    Exit 0: all is well, or there are warnings only; 1: a check failed.

    Examples:

        livestream doctor

        livestream doctor --directory /srv/livestream --json
    """
    with waiting("checking", quiet=as_json) as say:
        findings = examine(directory_of(directory), say)
    if as_json:
        typer.echo(json.dumps({"ok": _is_well(findings), "checks": [vars(finding) for finding in findings]}))
    else:
        _show(findings)
    raise typer.Exit(0 if _is_well(findings) else NOT_DONE)


def examine(directory: Path, say: Say) -> list[Finding]:
    """All findings, in the order in which one would mend them."""
    say("settings")
    settings, findings = read_settings(directory)
    findings = [check_directory(directory), *findings]
    say("programs")
    engines = () if settings is None else own_engines(stack_of(directory, settings), settings)
    findings = check_programs(**({} if settings is None else {"engines": engines})) + findings
    say("machine")
    findings += check_machine(growing_places(directory, settings))
    if settings is not None:
        findings.append(check_web_push(directory, settings))
        say("addresses")
        findings += check_addresses(directory, settings)
        say("what runs")
        findings += asyncio.run(_running(directory, settings))
    return findings


async def _running(directory: Path, settings: ServerSettings) -> list[Finding]:
    """What runs of the server: an engine elsewhere is looked at in any case, our own only when it runs."""
    stack, findings = stack_of(directory, settings), []
    own = own_engines(stack, settings)
    if "postgres" not in own or stack.runs("postgres"):
        findings += await check_postgres(settings)
    if "redis" not in own or stack.runs("redis"):
        findings += await check_redis(settings)
    if is_held(directory):
        findings += await check_services(settings)
    return findings


def _is_well(findings: list[Finding]) -> bool:
    return all(finding.level != "fail" for finding in findings)


def _show(findings: list[Finding]) -> None:
    """Lines that are never cut or folded: a fix is there to be copied."""
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        word, style = MARKS[finding.level]
        console.print(Text.assemble((f"{word:<5}", style), f" {finding.check:<{width}}  {finding.seen}"))
        if finding.fix:
            console.print(Text(f"{'':<{width + 6}}  → {finding.fix}"))
    failed, warned = (sum(finding.level == level for finding in findings) for level in ("fail", "warn"))
    typer.echo(f"{failed} failed, {warned} warned" if failed or warned else "all is well")
