"""Runs every process of deploy/compose.yaml from the image with podman, against the engines of a local stack.

Each must get healthy as the image's user and without capabilities; together they must carry the demo's stream from
publish to transcoded recording; each must stop with exit code 0.
`deploy/container/check` builds the image and calls this: `python -m deploy.container.check_run IMAGE`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from console.demo.report import DemoReport
from console.demo.steps import StepFailed, Steps
from console.demo.story import Story
from console.demo.verb import place_of
from console.init_secrets import FILE_MODE
from deploy.local import Stack, StackError

CHECKOUT = Path(__file__).resolve().parents[2]
ENGINES = ("postgres", "redis", "kafka", "minio")
PORT_BASE = 19_000
USER = 10_001  # the image's
SECRETS = "/etc/livestream/secrets"
HLS = "/var/lib/livestream/hls"
READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 15
COMMAND_SECONDS_MAX = 180.0
PROBE_SECONDS = 0.5

SECRET_VARIABLES = frozenset(
    {
        "LIVESTREAM_POSTGRES_DSN",
        "LIVESTREAM_REDIS_URL",
        "LIVESTREAM_ACCOUNTS_KEY_SECRET",
        "LIVESTREAM_STREAMING_INGEST_SECRET",
        "LIVESTREAM_STREAMING_PLAYBACK_SECRET",
        "LIVESTREAM_STREAMING_VIEWER_SECRET",
        "LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY",
        "LIVESTREAM_NOTIFY_SEALING_SECRET",
        "LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID",
        "LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY",
    }
)


class CheckFailed(Exception):
    """The image does not do what it should; the text says what, with the end of the container's log."""


@dataclass(frozen=True)
class Container:
    """One process to run: its name, its command, and the port and path of its health."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    port: int
    path: str = "/readyz"

    @property
    def label(self) -> str:
        """Its name in podman."""
        return f"livestream-check-{self.name}"


def podman_answer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run podman to its end, whatever the end is."""
    argv = ["podman", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)


def podman(*arguments: str) -> str:
    """Run podman; returns what it wrote, raises CheckFailed when it fails."""
    answer = podman_answer(*arguments)
    if answer.returncode != 0:
        raise CheckFailed(f"podman {arguments[0]}: {answer.stdout[-4000:]}{answer.stderr[-4000:]}".strip())
    return answer.stdout.strip()


def place_secrets(directory: Path, environment: Mapping[str, str]) -> None:
    """Write the stack's secrets as the files that the image reads, owned by its user."""
    directory.mkdir(exist_ok=True)
    values = {variable.lower(): environment[variable] for variable in SECRET_VARIABLES}
    values["livestream_edge_hook_secret"] = environment["LIVESTREAM_STREAMING_INGEST_SECRET"]
    values["livestream_edge_playback_secret"] = environment["LIVESTREAM_STREAMING_PLAYBACK_SECRET"]
    for name, value in values.items():
        path = directory / name
        path.unlink(missing_ok=True)
        path.touch(FILE_MODE)
        path.write_text(value)
    for path in (directory, *directory.iterdir()):
        os.chown(path, USER, USER)


def containers(stack: Stack, shared: Mapping[str, str]) -> list[Container]:
    """The long-running parts of the compose file that use our image, with this stack's addresses."""
    compose: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy/compose.yaml").read_text())
    found = []
    for name, part in compose["services"].items():
        if "build" not in part or "restart" not in part:
            continue
        if name == "edge":
            found.append(Container(name, part["command"], edge_environment(stack), stack.ports["control"], "/health"))
        else:
            port = stack.ports[name]
            found.append(Container(name, part["command"], {**shared, "LIVESTREAM_HTTP_PORT": str(port)}, port))
    return found


def edge_environment(stack: Stack) -> dict[str, str]:
    """What the compose file tells the edge, for a host network."""

    def address(part: str) -> str:
        return f"127.0.0.1:{stack.ports[part]}"

    return {
        "LIVESTREAM_SECRETS_DIR": SECRETS,
        "LIVESTREAM_EDGE_RTMP_LISTEN": address("rtmp"),
        "LIVESTREAM_EDGE_PUSH_LISTEN": address("rtmp-push"),
        "LIVESTREAM_EDGE_HTTP_LISTEN": address("edge"),
        "LIVESTREAM_EDGE_CONTROL_LISTEN": address("control"),
        **{f"LIVESTREAM_EDGE_{part.upper()}": address(part) for part in ("accounts", "streaming", "notify", "archive")},
        "LIVESTREAM_EDGE_CHAT": f"{address('chat-1')},{address('chat-2')}",
        "LIVESTREAM_EDGE_OBJECT_STORE": address("minio"),
    }


def run_arguments(image: str, work: Path, environment: Mapping[str, str]) -> list[str]:
    """What every `podman run` has: the compose file's restrictions, secrets, the shared HLS directory."""
    arguments = ["--network=host", "--init", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    arguments += [f"--volume={work / 'secrets'}:{SECRETS}:ro", f"--volume={work / 'hls'}:{HLS}"]
    arguments += [f"--env={name}={value}" for name, value in environment.items()]
    return [*arguments, image]


@contextmanager
def engines(directory: Path) -> Iterator[Stack]:
    """A stack of its own, from nothing; stopped and removed at the end."""
    if directory.exists():  # an interrupted run's
        Stack(directory).down()
        shutil.rmtree(directory)
    stack = Stack(directory, port_base=PORT_BASE)
    try:
        stack.up(ENGINES)
        yield stack
    finally:
        stack.down()
        shutil.rmtree(directory)


def wait_ready(container: Container) -> float:
    """Seconds until the image's own health check passes; raises CheckFailed with the end of the log."""
    began = time.monotonic()
    probe = ["exec", container.label, "python", "-m", "deploy.container.ready", str(container.port), container.path]
    while True:
        answer = podman_answer(*probe)
        seconds = time.monotonic() - began
        if answer.returncode == 0:
            return seconds
        running = podman("inspect", "--format={{.State.Running}}", container.label) == "true"
        if not running or seconds > READY_SECONDS_MAX:
            log = podman_answer("logs", "--tail=20", container.label)
            raise CheckFailed(
                f"{container.name} is not healthy after {seconds:.0f} s: {answer.stdout}\n{log.stdout}{log.stderr}"
            )
        time.sleep(PROBE_SECONDS)


def status_of(url: str) -> int:
    """The HTTP status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  a loopback address of ours
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def check_edge(origin: str) -> None:
    """The edge serves the page, passes calls on, and hides what is between services."""
    answers = ("/", "/vendor/hls.min.js", "/api/streams", "/api/archives", "/.well-known/jwks.json")
    hidden = ("/metrics", "/readyz", "/control", "/hooks/ingest/nginx-rtmp/x")
    expected = dict.fromkeys(answers, 200) | dict.fromkeys(hidden, 404)
    found = {path: status_of(origin + path) for path in expected}
    if found != expected:
        raise CheckFailed(f"through the edge: expected {expected}, got {found}")


def tell_the_story(stack: Stack, work: Path) -> None:
    """Live through one stream as the demo does, on the containers; raises CheckFailed at the first untrue step."""
    steps = Steps(Console(file=sys.stderr, highlight=False, soft_wrap=True))
    place = dataclasses.replace(place_of(stack), directory=work)
    try:
        asyncio.run(Story(place, steps, DemoReport(profile="full")).tell())
    except StepFailed as failed:
        raise CheckFailed(f"{failed.step}: {failed}") from failed


def stop(container: Container) -> int:
    """The exit code after SIGTERM."""
    podman("stop", f"--time={STOP_SECONDS_MAX}", container.label)
    return int(podman("inspect", "--format={{.State.ExitCode}}", container.label))


def check(image: str, work: Path) -> None:
    """Prepare, start everything, wait until it is healthy, look at it, stop it; raises CheckFailed or StackError."""
    with engines(work / "stack") as stack:
        shared = {name: value for name, value in stack.environment().items() if name not in SECRET_VARIABLES}
        shared |= {"LIVESTREAM_SECRETS_DIR": SECRETS, "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": HLS}
        shared["LIVESTREAM_ARCHIVE_WORK_DIRECTORY"] = "/var/lib/livestream/work"
        place_secrets(work / "secrets", stack.environment())
        (work / "hls").mkdir(exist_ok=True)
        os.chown(work / "hls", USER, USER)
        for verb in (["migrate"], ["topics", "create"]):
            podman("run", "--rm", *run_arguments(image, work, shared), "livestream", *verb)
            say(f"livestream {' '.join(verb)}: done")
        everything = containers(stack, shared)
        try:
            run_all(image, work, everything)
            check_edge(f"http://127.0.0.1:{stack.ports['edge']}")
            say("edge: page, APIs and keys answer; metrics are hidden")
            tell_the_story(stack, work)
            codes = {container.name: stop(container) for container in everything}
        finally:
            for container in everything:
                podman_answer("rm", "--force", "--ignore", "--time=1", container.label)
            for directory in ("secrets", "hls"):
                shutil.rmtree(work / directory)
    if any(codes.values()):
        raise CheckFailed(f"exit codes after SIGTERM: {codes}")
    say(f"all {len(codes)} processes stopped with exit code 0")


def run_all(image: str, work: Path, everything: Sequence[Container]) -> None:
    """Start all at once, in the file's order, and wait for each."""
    for container in everything:
        podman("rm", "--force", "--ignore", "--time=1", container.label)
        arguments = run_arguments(image, work, container.environment)
        podman("run", "--detach", f"--name={container.label}", *arguments, *container.command)
    for container in everything:
        seconds = wait_ready(container)
        user = podman("exec", container.label, "id", "-u")
        if user != str(USER):
            raise CheckFailed(f"{container.name} runs as user {user}")
        say(f"{container.name:<16} healthy after {seconds:4.1f} s, as user {user}")


def say(line: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"check: {line}\n")


def main() -> int:
    """Exit 0: every process of the image ran; 1: not, and why."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m deploy.container.check_run IMAGE\n")
        return 2
    try:
        check(sys.argv[1], CHECKOUT / ".local/container")
    except (CheckFailed, StackError, subprocess.TimeoutExpired) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
