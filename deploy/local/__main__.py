"""Command line of the local stack: `python -m deploy.local [--profile solo|full] up|down|status|logs|env`."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from deploy.local import PROFILES, ProfileName, Stack, StackError, places
from deploy.local.stack import shown

DEFAULT_PROFILE: ProfileName = "solo"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The local stack, without containers.")
    parser.add_argument(
        "--profile", choices=PROFILES, help=f"solo: Postgres, Redis, nginx; full: Kafka, MinIO too ({DEFAULT_PROFILE})"
    )
    parser.add_argument("--directory", type=Path, help="where it lives (.local/PROFILE)")
    parser.add_argument("--port-base", type=int, help="first port to try when it is made (17000)")
    commands = parser.add_subparsers(dest="command", required=True)
    names = "engines, services, all, or any of the profile's parts"
    up = commands.add_parser("up", help="start parts and wait until they are healthy")
    up.add_argument("parts", nargs="*", default=["engines"], help=names)
    down = commands.add_parser("down", help="stop parts; with neither profile nor directory, those of every profile")
    down.add_argument("parts", nargs="*", default=["all"], help=names)
    commands.add_parser("status", help="how every part is; exit 1 when one is unhealthy")
    logs = commands.add_parser("logs", help="the end of the logs")
    logs.add_argument("part", nargs="?")
    logs.add_argument("--follow", action="store_true")
    commands.add_parser("env", help="the services' settings as shell exports (contains secrets)")
    return parser.parse_args()


def _parts(stack: Stack, names: list[str]) -> list[str]:
    groups = {"engines": stack.engines, "services": stack.services, "all": stack.parts}
    return [part for name in names for part in groups.get(name, (name,))]


def _stacks_to_stop(arguments: argparse.Namespace) -> list[Stack]:
    if arguments.profile or arguments.directory:
        return [_stack(arguments)]
    found = [(places.stack_directory(profile), profile) for profile in PROFILES]
    found.append((places.LOCAL, "full"))  # where the one stack was before there were profiles
    return [Stack(directory, profile=profile) for directory, profile in found if (directory / "run").is_dir()]


def _stack(arguments: argparse.Namespace) -> Stack:
    profile = arguments.profile or DEFAULT_PROFILE
    return Stack(arguments.directory, profile=profile, port_base=arguments.port_base)


def _status(stack: Stack) -> int:
    statuses = stack.status()
    for part in statuses:
        line = f"  {part.name:<16} {part.state:<10} {part.pid or '-':>8}  {shown(part.addresses):<28} {part.reason}"
        print(line.rstrip())
    return 1 if any(part.state == "unhealthy" for part in statuses) else 0


def _logs(stack: Stack, part: str | None, *, follow: bool) -> int:
    files = [stack.log(name) for name in ([part] if part else stack.parts)]
    files = [file for file in files if file.exists()]
    if not files:
        print("no logs yet")
        return 0
    argv = ["tail", "-n", "50" if part else "10", *(["-F"] if follow else []), "--", *map(str, files)]
    try:
        return subprocess.run(argv, check=False).returncode
    except KeyboardInterrupt:
        return 0


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "down":
        for stack in _stacks_to_stop(arguments):
            stack.down(_parts(stack, arguments.parts), say=print)
        return 0
    stack = _stack(arguments)
    match arguments.command:
        case "up":
            stack.up(_parts(stack, arguments.parts))
        case "status":
            return _status(stack)
        case "logs":
            return _logs(stack, arguments.part, follow=arguments.follow)
        case "env":
            for name, value in stack.environment().items():
                print(f"export {name}={shlex.quote(value)}")
    return 0


def main() -> int:
    """Run one command; returns the exit code: 0 done, 1 failed with the next step on standard error."""
    try:
        return _run(_arguments())
    except StackError as error:
        print(f"local stack: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
