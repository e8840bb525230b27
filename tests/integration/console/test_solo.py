"""`livestream solo` as a streamer runs it: started, watched, killed, stopped, and refused with one line that helps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import engines
from tests.integration.console.servers import Server, environment_of_a_person, until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

TOO_SMALL, LARGE_ENOUGH = "64m", "900m"


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(directory: Path | None = None, **variables: str) -> Server:
        server = Server(directory or tmp_path / "server", {**environment_of_a_person(), **variables})
        made.append(server)
        server.init()
        return server

    yield make
    for server in made:
        server.clear()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("solo") / "server", environment_of_a_person())
    try:
        server.init()
        server.started()
        yield server
    finally:
        server.clear()


# --- one that runs ---


def test_a_second_server_on_the_same_directory_is_refused_by_name(running: Server) -> None:
    assert running.process is not None
    second = running.livestream("solo")
    assert second.returncode == 1
    assert f"already runs in {running.directory} (process {running.process.pid})" in second.stderr
    assert running.is_ready()


def test_the_doctor_finds_everything_in_use_by_the_server_itself(running: Server) -> None:
    report = running.livestream("doctor", "--json")
    checks = {check["check"]: check for check in json.loads(report.stdout)["checks"]}
    assert (report.returncode, json.loads(report.stdout)["ok"]) == (0, True), checks
    assert checks["address of postgres"]["seen"].endswith("in use by this server")
    for check in ("postgres reachable", "clock of postgres", "migrations", "redis reachable", "services ready"):
        assert checks[check]["level"] == "ok", checks[check]
    assert "none behind" in checks["events heard"]["seen"]


@pytest.mark.parametrize("engine", ["redis", "nginx", "postgres"])
def test_an_engine_that_dies_is_started_again_and_all_is_ready(running: Server, engine: str) -> None:
    before = running.engine_pids()
    os.killpg(before[engine], signal.SIGKILL)
    until("it runs again", lambda: running.engine_pids().get(engine, before[engine]) != before[engine])
    until("the server is ready", running.is_ready)
    until("it says so", lambda: running.said("engine_restarted", engine=engine))
    after = running.engine_pids()
    assert {name: pid for name, pid in after.items() if name != engine} == {
        name: pid for name, pid in before.items() if name != engine
    }


def test_engines_are_not_told_the_secrets_of_the_services(running: Server) -> None:
    for pid in running.engine_pids().values():
        assert b"LIVESTREAM_" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_no_secret_is_in_a_log(running: Server) -> None:
    texts = [path.read_text(errors="replace") for path in (running.directory / "log").iterdir()]
    texts.append(json.dumps(running.log))
    for variable in ("LIVESTREAM_ACCOUNTS_KEY_SECRET", "LIVESTREAM_STREAMING_INGEST_SECRET", "LIVESTREAM_POSTGRES_DSN"):
        secret = running.settings[variable].partition("@")[0].rpartition(":")[2]
        assert not any(secret in text for text in texts), variable


def test_a_proxy_on_this_machine_may_say_who_the_client_is(running: Server) -> None:
    """It ends TLS in front of the edge; without this all its viewers would share one address, and one's limits."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.http_port}/api/streams", headers={"X-Forwarded-For": "203.0.113.9"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  our own address
        assert answer.status == 200
    log = running.directory / "log/nginx.log"
    until("the edge has noted it", lambda: '"address":"203.0.113.9"' in log.read_text())


# --- start and stop ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_stops_everything_in_order(new_server: Callable[..., Server], number: signal.Signals) -> None:
    server = new_server()
    server.started()
    assert server.stop(number) == 0
    assert server.engine_pids() == {}
    stopped = [str(line["text"]).split()[0] for line in server.log if line["event"] == "engine_stopped"]
    assert stopped == ["nginx", "redis", "postgres"]
    names = [line["event"] for line in server.log]
    assert names.index("process_stopped") < names.index("engine_stopped")


def test_asked_to_stop_while_it_starts_it_leaves_nothing(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.start()
    until("it has begun", lambda: server.said("server_starting"))
    assert server.stop() == 0
    assert server.engine_pids() == {}


def test_after_a_kill_the_next_one_takes_the_engines_over(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.started()
    before = server.engine_pids()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert server.engine_pids() == before, "engines outlive the process"
    server.started()
    assert server.engine_pids() == before, "the next one uses them"
    assert server.stop() == 0
    assert server.engine_pids() == {}


def test_an_engine_elsewhere_is_used_and_neither_started_nor_stopped(
    new_server: Callable[..., Server], empty_database: engines.Database
) -> None:
    server = new_server(LIVESTREAM_POSTGRES_DSN=empty_database.url)
    server.started()
    assert set(server.engine_pids()) == {"redis", "nginx"}
    assert server.said("server_starting", engines=["redis", "nginx"], from_environment=["LIVESTREAM_POSTGRES_DSN"])
    assert server.stop() == 0


# --- refused ---


def refused(server: Server, **variables: str) -> str:
    """The one line that it said; it ended with 1 and left nothing running."""
    done = server.livestream("solo", **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    assert server.engine_pids() == {}
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stdout
    return lines[0]


@pytest.mark.parametrize("whose", ["edge", "rtmp", "postgres", "services"])
def test_a_port_in_use_is_named_with_the_fix(new_server: Callable[..., Server], whose: str) -> None:
    server = new_server()
    port = {
        "edge": server.http_port,
        "rtmp": server.rtmp_port,
        "postgres": int(server.settings["LIVESTREAM_POSTGRES_DSN"].rpartition(":")[2].partition("/")[0]),
        "services": int(server.settings["LIVESTREAM_HTTP_PORT"]),
    }[whose]
    with socket.socket() as taken:
        # A connection of before that has not quite ended is no reason to wait.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Another test may have it at this moment; that does as well.
        with suppress(OSError):
            taken.bind(("127.0.0.1", port))
            taken.listen()
        line = refused(server)
    assert f"port {port} is in use by another program" in line
    assert f"ss -ltnp 'sport = :{port}'" in line


def test_a_missing_part_is_named_with_the_fix(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("setpriv", "prlimit", "unshare", "nice", "redis-server"):
        (programs / name).symlink_to(shutil.which(name) or name)
    done = server.livestream("solo", PATH=str(programs))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "solo: ffmpeg: not found; apt install ffmpeg",
        "solo: ffprobe: not found; apt install ffmpeg",
    ]


def test_a_file_that_others_may_read_is_refused(new_server: Callable[..., Server]) -> None:
    server = new_server()
    path = server.directory / "livestream.env"
    path.chmod(0o644)
    assert f"chmod 600 {path}" in refused(server)


def test_an_unknown_setting_is_one_line(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with (server.directory / "livestream.env").open("a") as file:
        file.write("LIVESTREAM_STREAMING_GRACE_SECOND=3\n")
    line = refused(server)
    assert line == (
        "solo: LIVESTREAM_STREAMING_GRACE_SECOND: unknown variable (did you mean LIVESTREAM_STREAMING_GRACE_SECONDS?)"
    )


def test_a_directory_without_a_server_says_what_to_do(tmp_path: Path) -> None:
    line = refused(Server(tmp_path / "nothing", environment_of_a_person()))
    assert "livestream init" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_told_and_nothing_is_corrupted(new_server: Callable[..., Server], tmp_path: Path) -> None:
    mount = tmp_path / "disk"
    mount.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={TOO_SMALL}", "tmpfs", str(mount)]
    if subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets root mount nothing")
    try:
        server = new_server(mount / "server")
        assert "MiB are free and 128 are needed" in refused(server)
        subprocess.run(["mount", "-o", f"remount,size={LARGE_ENOUGH}", str(mount)], check=True)
        server.started()
        assert server.stop() == 0
        (mount / "ballast").write_bytes(b"\0" * (shutil.disk_usage(mount).free - (100 << 20)))
        assert "MiB are free and 128 are needed" in refused(server)
        (mount / "ballast").unlink()
        server.started()
        assert server.stop() == 0
        server.clear()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user already: every test here shows it")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", "--"]
    home = Path("/var/tmp") / f"livestream-{os.getpid()}"  # noqa: S108  pytest's own directory is root's alone
    home.mkdir(mode=0o700)
    shutil.chown(home, "nobody", "nogroup")
    server = Server(home / "server", {**environment_of_a_person(), "HOME": str(home)})
    try:
        trial = subprocess.run(
            [*as_nobody, sys.executable, "-c", "import console.solo"],
            env={**server.environment},
            cwd="/",
            check=False,
            capture_output=True,
        )
        if trial.returncode:
            pytest.skip("this interpreter or checkout is below a directory that others may not enter")
        server.before = as_nobody
        server.init()
        server.started()
        assert Path(f"/proc/{server.engine_pids()['postgres']}").stat().st_uid == home.stat().st_uid
        assert server.stop() == 0
    finally:
        server.clear()
        shutil.rmtree(home)
