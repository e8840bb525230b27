"""Command line of the local stack: `python -m deploy.local up|down|status|logs|env`."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from deploy.local import ALL, ENGINES, SERVICES, Stack, StackError, places

GROUPS = {"engines": ENGINES, "services": SERVICES, "all": ALL}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The local stack, without containers.")
    parser.add_argument("--directory", type=Path, default=places.CHECKOUT / ".local", help="where it lives (.local)")
    parser.add_argument("--port-base", type=int, default=None, help="first port to try when it is made (17000)")
    commands = parser.add_subparsers(dest="command", required=True)
    names = f"{', '.join(GROUPS)}, or any of: {', '.join(ALL)}"
    up = commands.add_parser("up", help="start parts and wait until they are healthy")
    up.add_argument("parts", nargs="*", default=["engines"], help=names)
    down = commands.add_parser("down", help="stop parts")
    down.add_argument("parts", nargs="*", default=["all"], help=names)
    commands.add_parser("status", help="how every part is; exit 1 when one is unhealthy")
    logs = commands.add_parser("logs", help="the end of the logs")
    logs.add_argument("part", nargs="?", choices=ALL)
    logs.add_argument("--follow", action="store_true")
    commands.add_parser("env", help="the services' settings as shell exports (contains secrets)")
    return parser.parse_args()


def _parts(names: list[str]) -> list[str]:
    return [part for name in names for part in GROUPS.get(name, (name,))]


def _status(stack: Stack) -> int:
    statuses = stack.status()
    for part in statuses:
        ports = ",".join(str(port) for port in part.ports)
        print(f"  {part.name:<16} {part.state:<10} {part.pid or '-':>8}  127.0.0.1:{ports:<18} {part.reason}".rstrip())
    return 1 if any(part.state == "unhealthy" for part in statuses) else 0


def _logs(stack: Stack, part: str | None, *, follow: bool) -> int:
    files = [stack.log(name) for name in ([part] if part else ALL)]
    files = [file for file in files if file.exists()]
    if not files:
        print("no logs yet")
        return 0
    argv = ["tail", "-n", "50" if part else "10", *(["-F"] if follow else []), "--", *map(str, files)]
    try:
        return subprocess.run(argv, check=False).returncode
    except KeyboardInterrupt:
        return 0


def main() -> int:
    """Run one command; returns the exit code: 0 done, 1 failed with the next step on standard error."""
    arguments = _arguments()
    stack = Stack(arguments.directory, port_base=arguments.port_base)
    try:
        match arguments.command:
            case "up":
                stack.up(_parts(arguments.parts))
            case "down":
                stack.down(_parts(arguments.parts), say=print)
            case "status":
                return _status(stack)
            case "logs":
                return _logs(stack, arguments.part, follow=arguments.follow)
            case "env":
                for name, value in stack.environment().items():
                    print(f"export {name}={shlex.quote(value)}")
    except StackError as error:
        print(f"local stack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
